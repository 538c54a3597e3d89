//! The kinds of channels that a connection can subscribe to, and a value for each kind.

/// The channels that the server tells changes of objects on begin like this; the function, a colon and
/// the object follow.
pub(crate) const CHANGES: &[u8] = b"__miso__:";

/// What a client can subscribe to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChannelKind {
    /// A channel, by its name.
    Channel,
    /// All channels that match a pattern.
    Pattern,
    /// A shard channel. Their names are apart from those of channels, and no pattern matches them. A node
    /// holds the whole keyspace, so all of them are here.
    Shard,
}

/// A value for each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PerKind<T>([T; 3]);

impl<T> PerKind<T> {
    pub(crate) fn of(&self, kind: ChannelKind) -> &T {
        &self.0[kind as usize]
    }

    pub(crate) fn of_mut(&mut self, kind: ChannelKind) -> &mut T {
        &mut self.0[kind as usize]
    }

    pub(crate) fn map<U>(&self, count: impl FnMut(&T) -> U) -> PerKind<U> {
        PerKind(self.0.each_ref().map(count))
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (ChannelKind, &T)> {
        [ChannelKind::Channel, ChannelKind::Pattern, ChannelKind::Shard].into_iter().zip(&self.0)
    }
}

impl PerKind<usize> {
    /// How many there are in all.
    pub(crate) fn sum(&self) -> usize {
        self.0.iter().sum()
    }
}
