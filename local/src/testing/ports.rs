//! Ports of this machine.

use std::time::Duration;

use tokio::process::Child;

/// A port that nothing listens on, and that no connection gets.
pub fn free_port() -> u16 {
    crate::ports::free(1).unwrap()[0]
}

/// Waits until something listens on the port; the process must not end before.
pub async fn wait_for_port(port: u16, process: &mut Child) {
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return;
        }
        assert!(process.try_wait().unwrap().is_none(), "it ended instead of listening");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing listens on port {port}");
}
