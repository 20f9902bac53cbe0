//! Pending requests: a request is identified by its message-id, which its response repeats as its
//! correlation-id
//! (spec: registry-apis A.1).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::{ServiceError, response::Response};

/// The requests of one pair of links that have no response yet.
#[derive(Default)]
pub(super) struct Pending(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    closed: bool,
    requests: HashMap<String, oneshot::Sender<Result<Response, ServiceError>>>,
}

/// A place among those who wait; given back when dropped.
pub(super) struct Place {
    pending: Arc<Pending>,
    id: String,
    response: oneshot::Receiver<Result<Response, ServiceError>>,
}

impl Pending {
    /// Takes a place, unless there is none or no response can come any more.
    pub(super) fn enter(self: &Arc<Self>, id: &str) -> Result<Place, ServiceError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(ServiceError::unavailable(CONNECTION_LOST));
        }
        if waiting.requests.len() >= MOST {
            return Err(ServiceError::unavailable(
                "too many requests wait for a response",
            ));
        }
        let (answer, response) = oneshot::channel();
        waiting.requests.insert(id.to_owned(), answer);
        Ok(Place {
            pending: self.clone(),
            id: id.to_owned(),
            response,
        })
    }

    /// Hands a response to who waits for it; false if nobody does.
    pub(super) fn answer(&self, id: &str, response: Result<Response, ServiceError>) -> bool {
        let waiting = self.lock().requests.remove(id);
        waiting.is_some_and(|waiting| waiting.send(response).is_ok())
    }

    /// Tells all who wait, now or later, that no response comes any more.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.requests.clear();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().requests.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The response, once it is there.
    pub(super) async fn response(&mut self) -> Result<Response, ServiceError> {
        let lost = |_| Err(ServiceError::unavailable(CONNECTION_LOST));
        (&mut self.response).await.unwrap_or_else(lost)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pending.lock().requests.remove(&self.id);
    }
}

/// The requests that may wait at a time on one pair of links.
pub(super) const MOST: usize = 10_000;

const CONNECTION_LOST: &str = "no connection to service";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{MOST, Pending};
    use crate::response::Response;

    fn status(status: u16) -> Response {
        Response {
            status,
            ..Response::default()
        }
    }

    #[tokio::test]
    async fn each_request_gets_its_own_response_in_any_order() {
        let pending = Arc::new(Pending::default());
        let mut first = pending.enter("1").unwrap();
        let mut second = pending.enter("2").unwrap();
        assert!(pending.answer("2", Ok(status(202))));
        assert!(pending.answer("1", Ok(status(201))));
        assert!(!pending.answer("1", Ok(status(201))), "answered twice");
        assert_eq!(first.response().await.unwrap().status, 201);
        assert_eq!(second.response().await.unwrap().status, 202);
    }

    #[test]
    fn nobody_waits_under_an_unknown_id_or_after_giving_up() {
        let pending = Arc::new(Pending::default());
        drop(pending.enter("1").unwrap());
        assert!(!pending.answer("1", Ok(status(200))));
        assert!(!pending.answer("2", Ok(status(200))));
    }

    #[test]
    fn a_request_beyond_the_bound_fails_at_once_and_a_freed_place_is_used_anew() {
        let pending = Arc::new(Pending::default());
        let ids = (0..MOST).map(|id| id.to_string());
        let mut places: Vec<_> = ids.map(|id| pending.enter(&id).unwrap()).collect();
        assert_eq!(pending.enter("more").err().unwrap().status, 503);
        places.pop();
        assert!(pending.enter("more").is_ok());
    }

    #[tokio::test]
    async fn all_who_wait_are_told_when_no_response_can_come() {
        let pending = Arc::new(Pending::default());
        let mut place = pending.enter("1").unwrap();
        pending.close();
        assert_eq!(place.response().await.err().unwrap().status, 503);
        assert_eq!(pending.enter("2").err().unwrap().status, 503);
    }
}
