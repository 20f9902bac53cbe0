//! Questions to the key store, each in a task of its own, so many at a time, each within its deadline.

use std::{
    collections::hash_map::Entry, fmt, future::Future, net::SocketAddr, sync::Arc, time::Duration,
};

use dtls_proto::{AssociationId, AssociationMap, Config, Psk};
use fair_semaphore::FairSemaphore;
use fair_share::{Holder, HolderHasher};
use tokio::task::{AbortHandle, JoinSet};

use crate::listener::{Confirmation, KeyStore};

/// All questions that wait for an answer; there is at most one for each association.
#[derive(Debug)]
pub(crate) struct Lookups<K: KeyStore> {
    keys: Arc<K>,
    tasks: JoinSet<Ended<K>>,
    running: AssociationMap<Running<K::Principal>>,
    /// Number of the next question.
    next: u64,
    /// Turns to ask the store, which no source of handshakes takes from all others.
    turns: FairSemaphore,
    hasher: HolderHasher,
    deadlines: Deadlines,
}

/// How long an answer may take, the same as the handshake waits for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) psk: Duration,
    pub(crate) verdict: Duration,
}

impl Deadlines {
    pub(crate) const fn of(config: &Config) -> Self {
        Self {
            psk: config.psk_deadline,
            verdict: config.verdict_deadline,
        }
    }
}

/// What is asked for an association.
#[derive(Debug, Clone)]
pub(crate) enum Question<P> {
    /// The key of this identity.
    Key(Vec<u8>),
    /// What to think of these certificates.
    Verdict {
        chain: Vec<Vec<u8>>,
        server_name: Option<String>,
    },
    /// Whom this bare key stands for.
    RawKey {
        public_key: Vec<u8>,
        server_name: Option<String>,
    },
    /// Whether this owner of a loaded session still is who it was.
    Confirmation(P),
}

/// What the store said.
pub(crate) enum Answer<P, R> {
    /// The key, and whom it stands for.
    Key(Result<(Psk, P), R>),
    /// Whom a certificate stands for.
    Verdict(Result<P, R>),
    /// What became of the owner.
    Confirmation(Confirmation),
}

/// A question that is over, with its number, and its answer if there is one.
type Ended<K> = (AssociationId, u64, Option<Given<K>>);

type Given<K> = Answer<<K as KeyStore>::Principal, <K as KeyStore>::Refusal>;

#[derive(Debug)]
struct Running<P> {
    task: AbortHandle,
    peer: SocketAddr,
    /// Tells its answer from those to earlier questions of the association.
    number: u64,
    question: Question<P>,
    trust: Trust,
}

/// What an answer that is on its way is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Good,
    /// Something was revoked since it was asked for, so it is asked for once more.
    Doubtful,
}

impl<K: KeyStore> Lookups<K> {
    pub(crate) fn new(keys: Arc<K>, deadlines: Deadlines) -> Self {
        Self {
            keys,
            tasks: JoinSet::new(),
            running: AssociationMap::default(),
            next: 0,
            turns: turns(MAX_LOOKUPS),
            hasher: HolderHasher::default(),
            deadlines,
        }
    }

    pub(crate) fn limit(&mut self, limit: usize) {
        self.turns = turns(limit);
    }

    pub(crate) fn keys(&self) -> &K {
        &self.keys
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Asks for a peer, in place of what was asked for its association before. There are never more questions than associations, which the core
    /// bounds: one that ends takes its question with it.
    pub(crate) fn ask(
        &mut self,
        association: AssociationId,
        peer: SocketAddr,
        question: Question<K::Principal>,
    ) {
        let answer = self.answer(peer, question.clone());
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let task = self
            .tasks
            .spawn(async move { (association, number, answer.await) });
        let running = Running {
            task,
            peer,
            number,
            question,
            trust: Trust::Good,
        };
        if let Some(before) = self.running.insert(association, running) {
            before.task.abort();
        }
    }

    /// The next answer; `None` if nothing was asked. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<(AssociationId, Given<K>)> {
        loop {
            let ended = self.tasks.join_next().await?;
            if let Some(answer) = self.settle(ended.ok()) {
                return Some(answer);
            }
        }
    }

    /// An answer that is there already.
    pub(crate) fn take_ready(&mut self) -> Option<(AssociationId, Given<K>)> {
        loop {
            let ended = self.tasks.try_join_next()?;
            if let Some(answer) = self.settle(ended.ok()) {
                return Some(answer);
            }
        }
    }

    /// What the end of a task means. One that panicked has no answer; its handshake ends at its own deadline.
    fn settle(&mut self, ended: Option<Ended<K>>) -> Option<(AssociationId, Given<K>)> {
        let (association, number, answer) = ended?;
        // Without one, the association ended just before. With another number, this is the answer to
        // an earlier question, which ended in the moment it was replaced.
        let Entry::Occupied(entry) = self.running.entry(association) else {
            return None;
        };
        if entry.get().number != number {
            return None;
        }
        let running = entry.remove();
        if running.trust == Trust::Doubtful {
            self.ask(association, running.peer, running.question);
            return None;
        }
        // Without one in time, the handshake's own deadline is over, too.
        Some((association, answer?))
    }

    /// Wants no answer any more.
    pub(crate) fn forget(&mut self, association: AssociationId) {
        if let Some(running) = self.running.remove(&association) {
            running.task.abort();
        }
    }

    /// Something was revoked: what is on its way may have been true before only.
    pub(crate) fn doubt_all(&mut self) {
        for running in self.running.values_mut() {
            running.trust = Trust::Doubtful;
        }
    }

    /// Whose share of the turns a question takes: its source prefix's, and in that the address's,
    /// by what the store tells look-ups apart by.
    fn holder(&self, peer: SocketAddr, question: &Question<K::Principal>) -> Holder {
        let source = self.hasher.source(peer.ip());
        let class = match question {
            Question::Key(identity) => self.keys.lookup_class(identity),
            _ => 0,
        };
        self.hasher
            .holder(&source.group(), &(source.member(), class))
    }

    fn answer(
        &self,
        peer: SocketAddr,
        question: Question<K::Principal>,
    ) -> impl Future<Output = Option<Given<K>>> + Send + 'static {
        let holder = self.holder(peer, &question);
        let (keys, turns) = (Arc::clone(&self.keys), self.turns.clone());
        let turn = async move { turns.acquire(holder).await.ok() };
        let Deadlines { psk, verdict } = self.deadlines;
        async move {
            match question {
                Question::Key(identity) => {
                    let key = in_turn(turn, psk, || keys.key(peer, identity));
                    key.await.map(Answer::Key)
                }
                Question::Verdict { chain, server_name } => {
                    let principal =
                        in_turn(turn, verdict, || keys.verdict(peer, chain, server_name));
                    principal.await.map(Answer::Verdict)
                }
                Question::RawKey {
                    public_key,
                    server_name,
                } => {
                    let principal = in_turn(turn, verdict, || {
                        keys.raw_key(peer, public_key, server_name)
                    });
                    principal.await.map(Answer::Verdict)
                }
                Question::Confirmation(principal) => {
                    let confirmed = in_turn(turn, psk, || keys.confirm(principal)).await;
                    let confirmed = confirmed.unwrap_or(Confirmation::Unknown);
                    Some(Answer::Confirmation(confirmed))
                }
            }
        }
    }
}

impl<P, R> fmt::Debug for Answer<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer(..)")
    }
}

/// Asks when it is its turn, unless the deadline passes first.
async fn in_turn<F: Future, P>(
    turn: impl Future<Output = Option<P>>,
    deadline: Duration,
    ask: impl FnOnce() -> F,
) -> Option<F::Output> {
    let answer = async {
        let _turn = turn.await?;
        // In a storm thousands wait for their turn; the room that asking takes is for those that have it.
        Some(Box::pin(ask()).await)
    };
    tokio::time::timeout(deadline, answer).await.ok().flatten()
}

/// As many turns; more questions than associations, which the core bounds, do not wait.
fn turns(limit: usize) -> FairSemaphore {
    FairSemaphore::new(limit, usize::MAX)
}

/// How many questions are asked at a time, unless told otherwise.
pub(crate) const MAX_LOOKUPS: usize = 1024;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    /// Answers a PSK question at once, with the identity as the key.
    #[derive(Debug)]
    struct Echo;

    impl KeyStore for Echo {
        type Principal = Vec<u8>;
        type Refusal = ();

        async fn key(&self, _: SocketAddr, identity: Vec<u8>) -> Result<(Psk, Vec<u8>), ()> {
            Ok((Psk::from(identity.as_slice()), identity))
        }

        async fn verdict(
            &self,
            _: SocketAddr,
            _: Vec<Vec<u8>>,
            _: Option<String>,
        ) -> Result<Vec<u8>, ()> {
            Err(())
        }

        async fn raw_key(
            &self,
            _: SocketAddr,
            _: Vec<u8>,
            _: Option<String>,
        ) -> Result<Vec<u8>, ()> {
            Err(())
        }
    }

    /// Symptom (reasoned, never seen): an answer could be taken for that of a later question of the
    /// same handshake, and pair the verdict about one device with the certificate of another. Cause:
    /// answers were matched by association only, and a task that has ended cannot be aborted.
    #[tokio::test]
    async fn an_answer_is_never_taken_for_that_of_a_later_question() {
        let deadlines = Deadlines {
            psk: Duration::from_secs(1),
            verdict: Duration::from_secs(1),
        };
        let mut lookups = Lookups::new(Arc::new(Echo), deadlines);
        let association = AssociationId::from_number(NonZeroU64::MIN);
        let peer = ([192, 0, 2, 1], 1).into();
        lookups.ask(association, peer, Question::Key(b"earlier".to_vec()));
        // The task ends, and nobody has taken its answer when the next question is asked.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        lookups.ask(association, peer, Question::Key(b"later".to_vec()));
        let (_, answer) = lookups.next().await.unwrap();
        let Answer::Key(Ok((_, principal))) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(principal, b"later");
        assert!(lookups.next().await.is_none());
    }
}
