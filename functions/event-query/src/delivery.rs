//! What succeeds or fails together.

use rds_iam::Error;

use crate::message::Message;

/// A record, with the messages in it.
pub(crate) struct Delivery {
    /// What the queue, stream or pipe knows it by; the index for SNS, S3 and EventBridge.
    pub(crate) id: String,
    /// The message group of a FIFO queue, or a stream's shard: what must keep its order.
    pub(crate) group: Option<String>,
    /// What it holds: several for an S3 notification of several records.
    pub(crate) messages: Result<Vec<Message>, Error>,
}

/// Shows no message group: the sender chose it, and it may name a customer.
impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let messages = self.messages.as_ref().map(Vec::len);
        f.debug_struct("Delivery").field("messages", &messages).finish_non_exhaustive()
    }
}
