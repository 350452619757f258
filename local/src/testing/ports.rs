//! Ports of this machine.

use std::net::TcpListener;
use std::time::Duration;

use tokio::process::Child;

/// A port that nothing listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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
