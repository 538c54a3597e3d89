//! The macro that makes [`Type`](crate::Type), [`Value`](crate::Value) and [`Delta`](crate::Delta) of
//! the list of types.

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident($state:ty) = $tag:literal $text:literal,)*) => {
        /// The types, with their tags on the wire. A tag is never used twice.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Type { $($(#[$doc])* $name = $tag,)* }

        impl Type {
            /// All types, in the order of their tags.
            pub const ALL: &'static [Type] = &[$(Type::$name,)*];

            /// The name that commands use, in lower case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Type::$name => $text,)* }
            }

            /// The type of a tag.
            #[must_use]
            pub const fn of_tag(tag: u8) -> Option<Type> {
                match tag { $($tag => Some(Type::$name),)* _ => None }
            }
        }

        /// A value of any type.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum Value { $($(#[$doc])* $name($state),)* }

        /// A change of a value of any type.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum Delta { $($(#[$doc])* $name(<$state as Crdt>::Delta),)* }

        impl crate::table::Header for Delta {}

        impl Value {
            /// The empty value of `kind`.
            #[must_use]
            pub fn empty(kind: Type) -> Value {
                match kind { $(Type::$name => Value::$name(<$state>::default()),)* }
            }

            /// Its type.
            #[must_use]
            pub const fn kind(&self) -> Type {
                match self { $(Value::$name(_) => Type::$name,)* }
            }

            /// As [`Crdt::is_absent`].
            #[must_use]
            pub fn is_absent(&self) -> bool {
                match self { $(Value::$name(state) => state.is_absent(),)* }
            }

            /// As [`Crdt::is_blank`].
            #[must_use]
            pub fn is_blank(&self) -> bool {
                match self { $(Value::$name(state) => state.is_blank(),)* }
            }

            /// As [`Crdt::apply`]; a delta of another type changes nothing.
            pub fn apply(&mut self, seen: &impl Seen, delta: &Delta) -> bool {
                match (self, delta) {
                    $((Value::$name(state), Delta::$name(delta)) => state.apply(seen, delta),)*
                    _ => false,
                }
            }

            /// As [`Crdt::prefetch`]; a delta of another type is about nothing here.
            pub fn prefetch(&self, delta: &Delta) {
                match (self, delta) {
                    $((Value::$name(state), Delta::$name(delta)) => state.prefetch(delta),)*
                    _ => {}
                }
            }

            /// As [`Crdt::whole`].
            #[must_use]
            pub fn whole(&self, context: &Context) -> Delta {
                match self { $(Value::$name(state) => Delta::$name(state.whole(context)),)* }
            }

            /// As [`Crdt::since`].
            #[must_use]
            pub fn since(&self, known: &impl Seen) -> Delta {
                match self { $(Value::$name(state) => Delta::$name(state.since(known)),)* }
            }

            /// As [`Crdt::parts`].
            #[must_use]
            pub fn parts(&self) -> usize {
                match self { $(Value::$name(state) => state.parts(),)* }
            }

            /// As [`Crdt::piece`].
            #[must_use]
            pub fn piece(&self, cursor: u64, most: usize) -> (Delta, u64) {
                match self {
                    $(Value::$name(state) => {
                        let (delta, cursor) = state.piece(cursor, most);
                        (Delta::$name(delta), cursor)
                    })*
                }
            }

            /// As [`Crdt::digest`].
            #[must_use]
            pub fn digest(&self, writers: &Writers) -> u64 {
                match self { $(Value::$name(state) => state.digest(writers),)* }
            }

            /// As [`Crdt::reset`]; a change of another type notes nothing.
            pub fn reset<E: Events>(
                &mut self,
                context: &Context,
                events: &mut E,
                change: Option<&mut Delta>,
            ) -> bool {
                match self {
                    $(Value::$name(state) => {
                        let change = change.and_then(<kind::$name as Kind>::delta_mut);
                        Crdt::reset(state, context, events, change)
                    })*
                }
            }

            /// As [`Crdt::size`].
            #[must_use]
            pub fn size(&self) -> i64 {
                match self { $(Value::$name(state) => Crdt::size(state),)* }
            }

            /// As [`Crdt::each_dot`].
            pub fn each_dot(&self, each: impl FnMut(Dot)) {
                match self { $(Value::$name(state) => Crdt::each_dot(state, each),)* }
            }

            /// As [`Crdt::dots`].
            #[must_use]
            pub fn dots(&self) -> usize {
                match self { $(Value::$name(state) => Crdt::dots(state),)* }
            }

            /// As [`Crdt::show`].
            #[must_use]
            pub fn show(&self, writers: &Writers) -> Shown {
                match self { $(Value::$name(state) => Crdt::show(state, writers),)* }
            }

            /// As [`Crdt::adopt`]; a change of another type notes nothing.
            pub fn adopt<E: Events>(
                &mut self,
                gone: &impl Fn(Dot) -> bool,
                events: &mut E,
                change: Option<&mut Delta>,
            ) -> bool {
                match self {
                    $(Value::$name(state) => {
                        let change = change.and_then(<kind::$name as Kind>::delta_mut);
                        Crdt::adopt(state, gone, events, change)
                    })*
                }
            }

            /// As [`Crdt::counts`].
            #[must_use]
            pub fn counts(&self, which: &impl Fn(Dot) -> bool) -> bool {
                match self { $(Value::$name(state) => Crdt::counts(state, which),)* }
            }

            /// As [`Crdt::has_dead_entries`].
            #[must_use]
            pub fn has_dead_entries(&self) -> bool {
                match self { $(Value::$name(state) => Crdt::has_dead_entries(state),)* }
            }

            /// As [`Crdt::collect`].
            pub fn collect(&mut self, applied: &impl Fn(Dot, Dot) -> bool) {
                match self { $(Value::$name(state) => Crdt::collect(state, applied),)* }
            }

            /// As [`Crdt::tally`].
            #[must_use]
            pub fn tally(&self, field: &[u8], writer: Writer) -> Option<Tally> {
                match self { $(Value::$name(state) => Crdt::tally(state, field, writer),)* }
            }

            /// As [`Crdt::correct`]; a change of another type notes nothing.
            pub fn correct<E: Events>(
                &mut self,
                of: (&[u8], Writer),
                amount: i128,
                events: &mut E,
                change: Option<&mut Delta>,
            ) -> bool {
                match self {
                    $(Value::$name(state) => {
                        let change = change.and_then(<kind::$name as Kind>::delta_mut);
                        Crdt::correct(state, of, amount, events, change)
                    })*
                }
            }

            /// As [`Crdt::first_end`].
            #[must_use]
            pub fn first_end(&self, after: u64) -> u64 {
                match self { $(Value::$name(state) => Crdt::first_end(state, after),)* }
            }

            /// As [`Crdt::heap_bytes`].
            #[must_use]
            pub fn heap_bytes(&self) -> usize {
                match self { $(Value::$name(state) => state.heap_bytes(),)* }
            }
        }

        $(
            impl Kind for kind::$name {
                const TYPE: Type = Type::$name;
                type State = $state;

                fn of(value: &Value) -> Option<&$state> {
                    match value { Value::$name(state) => Some(state), _ => None }
                }

                fn of_mut(value: &mut Value) -> Option<&mut $state> {
                    match value { Value::$name(state) => Some(state), _ => None }
                }

                fn delta_mut(
                    delta: &mut Delta,
                ) -> Option<&mut <$state as Crdt>::Delta> {
                    match delta { Delta::$name(delta) => Some(delta), _ => None }
                }
            }
        )*

        /// The types as parameters of generic code: see [`Kind`].
        pub mod kind {
            $($(#[$doc])* #[derive(Clone, Copy, Debug)] pub struct $name;)*
        }

        impl Delta {
            /// The change of `kind` that says nothing.
            #[must_use]
            pub fn empty(kind: Type) -> Delta {
                match kind { $(Type::$name => Delta::$name(Default::default()),)* }
            }

            /// The type that it changes.
            #[must_use]
            pub const fn kind(&self) -> Type {
                match self { $(Delta::$name(_) => Type::$name,)* }
            }

            /// Whether it says nothing.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                match self { $(Delta::$name(delta) => delta.is_empty(),)* }
            }

            /// As [`Crdt::join_delta`]; a delta of another type changes nothing.
            pub fn join(&mut self, other: &Delta) {
                match (self, other) {
                    $((Delta::$name(delta), Delta::$name(other)) => {
                        <$state as Crdt>::join_delta(delta, other);
                    })*
                    _ => {}
                }
            }

            /// As [`Crdt::complete`].
            pub fn complete(&mut self, context: &Context) -> bool {
                match self {
                    $(Delta::$name(delta) => <$state as Crdt>::complete(delta, context),)*
                }
            }

            /// As [`Crdt::removals`].
            #[must_use]
            pub fn removals(&self) -> Delta {
                match self {
                    $(Delta::$name(delta) => Delta::$name(<$state as Crdt>::removals(delta)),)*
                }
            }

            /// As [`Crdt::learn`].
            pub fn learn(&self, context: &mut Context) {
                match self { $(Delta::$name(delta) => <$state as Crdt>::learn(delta, context),)* }
            }

            /// As [`Crdt::each_added`].
            pub fn each_added(&self, each: &mut impl FnMut(Dot)) {
                match self {
                    $(Delta::$name(delta) => <$state as Crdt>::each_added(delta, each),)*
                }
            }

            /// The message that says it; see [`codec`].
            #[must_use]
            pub fn encode(&self, writers: &Writers) -> Vec<u8> {
                let mut encoder = Encoder::new();
                match self { $(Delta::$name(delta) => delta.encode(&mut encoder),)* }
                encoder.finish(self.kind() as u8, writers)
            }

            /// As [`Delta::encode`], appended to `out` by way of an encoder that is kept.
            pub fn encode_with(
                &self,
                encoder: &mut Encoder,
                writers: &Writers,
                out: &mut Vec<u8>,
            ) {
                match self { $(Delta::$name(delta) => delta.encode(encoder),)* }
                encoder.finish_to(self.kind() as u8, writers, out);
            }

            /// Writes its type tag and its body.
            pub fn encode_to(&self, to: &mut Encoder) {
                to.byte(self.kind() as u8);
                match self { $(Delta::$name(delta) => delta.encode(to),)* }
            }

            /// Reads what [`Delta::encode_to`] wrote.
            ///
            /// # Errors
            /// If it is anything else.
            pub fn decode_from(from: &mut Decoder<'_>) -> Result<Delta, DecodeError> {
                let tag = from.byte()?;
                Delta::body(tag, from)
            }

            fn body(tag: u8, from: &mut Decoder<'_>) -> Result<Delta, DecodeError> {
                Ok(match Type::of_tag(tag).ok_or(DecodeError::Type(tag))? {
                    $(Type::$name => Delta::$name(Encode::decode(from)?),)*
                })
            }

            /// Reads a message, interning its writers.
            ///
            /// # Errors
            /// If it is not one that [`Delta::encode`] writes; never panics, takes memory in
            /// proportion to the message, and leaves `writers` as they were.
            pub fn decode(message: &[u8], writers: &mut Writers) -> Result<Delta, DecodeError> {
                let known = writers.len();
                match Delta::decode_first(message, writers)? {
                    (delta, []) => Ok(delta),
                    _ => {
                        writers.truncate(known);
                        Err(DecodeError::Trailing)
                    }
                }
            }

            /// As [`Delta::decode`] of a message that others may follow; gives those.
            ///
            /// # Errors
            /// As there.
            pub fn decode_first<'a>(
                message: &'a [u8],
                writers: &mut Writers,
            ) -> Result<(Delta, &'a [u8]), DecodeError> {
                let known = writers.len();
                let read = Delta::read(message, writers);
                if read.is_err() {
                    writers.truncate(known);
                }
                read
            }

            fn read<'a>(
                message: &'a [u8],
                writers: &mut Writers,
            ) -> Result<(Delta, &'a [u8]), DecodeError> {
                let (tag, mut decoder) = Decoder::open(message, writers)?;
                let delta = Delta::body(tag, &mut decoder)?;
                decoder.close_before_more()?;
                Ok((delta, decoder.rest()))
            }
        }
    };
}
