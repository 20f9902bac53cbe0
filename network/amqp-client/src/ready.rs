//! Giving way, so that what many tasks want done is done at once.

use std::{future::poll_fn, mem::replace, task::Poll};

/// Goes on when the tasks that are ready have had their turn. Unlike [`tokio::task::yield_now`] it does not wait for a look at the
/// network, which would be a system call more each time.
pub async fn after_the_ready() {
    let mut has_given_way = false;
    poll_fn(|context| {
        if replace(&mut has_given_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::task::JoinSet;

    use super::after_the_ready;

    #[tokio::test]
    async fn whoever_gives_way_goes_on_after_those_that_were_ready() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for number in 0..4 {
            let order = Arc::clone(&order);
            tasks.spawn(async move {
                if number == 0 {
                    after_the_ready().await;
                }
                order.lock().unwrap().push(number);
            });
        }
        tasks.join_all().await;
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 0]);
    }
}
