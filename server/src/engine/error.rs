//! What a command answers when it cannot do what was asked: one row for each error.
//!
//! A row has the error's code, its text, when it comes and what to do about it. The reply line, the
//! counts of `INFO errorstats` (by code) and docs/errors.md are made from the rows. Texts are Redis's
//! where Redis has the same error.
//!
//! Bytes of a client that stand in a text are kept as they are, as Redis does: the reply line is
//! bytes, not UTF-8. Only what would end the line is replaced when it is written.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};

use miso_protocol::reply::{Reply, Resp};
use miso_protocol::rest::commands::BadRequest;
use miso_store::crdt::Type;
use miso_store::crdt::plain::Refused;
use miso_store::{Misfit, WrongType};

/// The most bytes of a client that an error repeats.
const SHOWN_MAX: usize = 1024;

/// Bytes within an error's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shown(Box<[u8]>);

impl Shown {
    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Shown {
    /// Ends at the first zero byte, as a text of Redis's does, and is bounded.
    fn from(bytes: &[u8]) -> Shown {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Shown(Box::from(&bytes[..end.min(SHOWN_MAX)]))
    }
}

impl From<Vec<u8>> for Shown {
    fn from(bytes: Vec<u8>) -> Shown {
        Shown::from(bytes.as_slice())
    }
}

impl From<&str> for Shown {
    fn from(text: &str) -> Shown {
        Shown::from(text.as_bytes())
    }
}

impl From<String> for Shown {
    fn from(text: String) -> Shown {
        Shown::from(text.as_bytes())
    }
}

impl From<Cow<'_, str>> for Shown {
    fn from(text: Cow<'_, str>) -> Shown {
        Shown::from(text.as_bytes())
    }
}

/// One error, as the reference describes it.
#[derive(Debug)]
struct Row {
    /// Its first word, by which clients tell errors apart.
    code: &'static str,
    /// The rest of its line; `{}` stands for what is said of the case.
    text: &'static str,
    /// When it comes.
    when: &'static str,
    /// What to do.
    action: &'static str,
}

macro_rules! errors {
    (@shown $arg:ident) => { Shown };
    ($($name:ident $(($($arg:ident),+))? = $code:literal, $text:literal, $when:literal, $action:literal;)*) => {
        /// A client's mistake, or a reason why the server cannot do what a client asks now.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum CommandError {
            $(
                #[doc = $when]
                $name $(($(errors!(@shown $arg)),+))?,
            )*
            /// A line that a lower layer made: its code and its text.
            Other(Cow<'static, str>),
        }

        /// All errors.
        const ROWS: &[Row] = &[
            $(Row { code: $code, text: $text, when: $when, action: $action },)*
        ];

        impl CommandError {
            /// Its code and text, and what to put into the text; none if it is a whole line.
            fn parts(&self) -> Option<(&'static str, &'static str, Vec<&Shown>)> {
                match self {
                    $(CommandError::$name $(($($arg),+))? => {
                        Some(($code, $text, vec![$($($arg),+)?]))
                    })*
                    CommandError::Other(_) => None,
                }
            }
        }
    };
}

errors! {
    // Arguments.
    UnknownCommand(name, args) = "ERR", "unknown command '{}', with args beginning with: {}",
        "There is no command of this name", "See docs/commands.md for the commands of this server";
    UnknownSubcommand(word, command) = "ERR", "unknown subcommand '{}'. Try {} HELP.",
        "The command has no such subcommand", "Ask the command for HELP";
    WrongArity(command) = "ERR", "wrong number of arguments for '{}' command",
        "A command has too few or too many arguments", "Compare with the syntax in docs/commands.md";
    Syntax = "ERR", "syntax error",
        "An option is unknown, repeated, or lacks its value",
        "Compare with the syntax in docs/commands.md";
    NotInteger = "ERR", "value is not an integer or out of range",
        "An argument is not a 64-bit integer", "Send digits, with a minus sign if negative";
    OutOfRange = "ERR", "value is out of range",
        "An integer is beyond what the command takes", "See the command's entry for its bounds";
    OutOfLong = "ERR",
        "value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        "A count of random elements is the least 64-bit integer", "Send a smaller count";
    OutOfInt = "ERR",
        "value is out of range, value must between -2147483648 and 2147483647",
        "The number of a database does not fit 32 bits", "Send a number below the setting databases";
    NotPositive = "ERR", "value is out of range, must be positive",
        "A count is negative", "Send 0 or more";
    NotZeroOrOne = "ERR", "value is out of range, value must between 0 and 1",
        "WAITAOF's numlocal is neither 0 nor 1", "Send 0 or 1";
    NotFloat = "ERR", "value is not a valid float",
        "An argument is not a number", "Send a number such as 0.5";
    NotFlag = "ERR", "flag is not 0 or 1",
        "The value of a flag is neither 0 nor 1", "Send 0 or 1";
    TimeoutNotInteger = "ERR", "timeout is not an integer or out of range",
        "A timeout is not an integer", "Send milliseconds";
    NegativeTimeout = "ERR", "timeout is negative", "A timeout is below 0",
        "Send milliseconds; 0 waits for ever";
    InvalidCursor = "ERR", "invalid cursor",
        "A cursor is not a number", "Begin with 0, then send the cursor of the last reply";
    NoValues = "ERR", "NOVALUES option can only be used in HSCAN",
        "A scan of something else than a hash has the option NOVALUES", "Leave it out";
    NotUtf8(what) = "ERR", "{} is not UTF-8",
        "An argument that must be text is not", "Send UTF-8";
    TooLong(max) = "ERR", "object or name is longer than key-max-bytes ({})",
        "An object id or a name is too long", "Use shorter names, or raise key-max-bytes";
    // Types and values.
    WrongType = "WRONGTYPE", "Operation against a key holding the wrong kind of value",
        "The name holds a value of another type",
        "Use the commands of its type, which MISO.TYPE tells";
    NotHyperLogLog = "WRONGTYPE", "Key is not a valid HyperLogLog string value.",
        "A command of HyperLogLogs meets a string", "Use another key, or delete this one";
    ObjectWithNames(key, command) = "WRONGTYPE",
        "Operation against a key holding the wrong kind of value: '{}' is an object with names; HGETALL shows it, and commands such as {} change it",
        "A command about plain keys meets an object with names",
        "Use the commands of its types, which MISO.OBJECT tells, or another key";
    PlainKey = "WRONGTYPE",
        "Operation against a key holding the wrong kind of value: it is a plain key, which has no names; TYPE tells which commands change it",
        "A command about a name of an object meets a plain key",
        "Use the commands of the key's type, or another object";
    UnknownType = "ERR", "unknown type name",
        "There is no type of this name", "See docs/commands.md for the types";
    Overflow = "ERR", "increment or decrement would overflow",
        "The sum is beyond 64 bits", "Count in larger units";
    CannotDecrease = "ERR", "a grow-only counter cannot decrease",
        "A grow-only counter is given a negative number", "Use PNCOUNTER";
    HashNotInteger = "ERR", "hash value is not an integer",
        "The field of a map is to be incremented and holds no integer",
        "Set the field to an integer, or use another field";
    HashNotFloat = "ERR", "hash value is not a float",
        "The field of a hash is to be incremented and holds no number",
        "Set the field to a number, or use another field";
    Infinite = "ERR", "value is NaN or Infinity",
        "HINCRBYFLOAT is to add an infinity", "Send a finite number";
    NegativeExpire = "ERR", "invalid expire time, must be >= 0",
        "A deadline of a field is negative", "Send 0 or more";
    FieldsMissing = "ERR", "Mandatory argument FIELDS is missing or not at the right position",
        "A command about fields with deadlines lacks the word FIELDS where it belongs",
        "Send FIELDS, how many fields there are, and the fields, after the options";
    FieldsGreater = "ERR", "Parameter `numFields` should be greater than 0",
        "HEXPIRE or its like is told of no field", "Send how many fields follow";
    FieldsPositive = "ERR", "Number of fields must be a positive integer",
        "A command is told of no field", "Send how many fields follow";
    FieldsMatch = "ERR", "The `numfields` parameter must match the number of arguments",
        "More fields follow than are announced, or fewer", "Send how many fields follow";
    FieldsInvalid = "ERR", "invalid number of fields",
        "HSETEX is told of no field", "Send how many fields follow";
    UnknownArgument(word) = "ERR", "unknown argument: {}",
        "HSETEX has an option that there is not", "Compare with the syntax in docs/commands.md";
    FieldConditions = "ERR", "Only one of FXX or FNX arguments can be specified",
        "HSETEX has two conditions", "Send one of them";
    FieldExpiries = "ERR", "Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
        "HSETEX has two deadlines", "Send one of them";
    NumKeys = "ERR", "numkeys should be greater than 0",
        "A command is told of no key", "Send how many keys follow";
    KeysBeyondArgs = "ERR", "Number of keys can't be greater than number of args",
        "Fewer keys follow than are announced", "Send how many keys follow";
    NegativeLimit = "ERR", "LIMIT can't be negative",
        "LIMIT is no number from 0 on", "Send a number; 0 is no limit";
    OutOfMemory = "OOM", "command not allowed when used memory > 'maxmemory'.",
        "Memory is full, and the command would need more",
        "Delete objects, or raise maxmemory";
    // Functions.
    FunctionInMulti = "ERR", "the function cannot change inside MULTI",
        "A transaction would change the connection's function", "Change it before MULTI";
    OtherFunction(function) = "NOPERM", "this user speaks for the function '{}' alone",
        "The user is bound to another function", "Authenticate as a user of that function";
    BadName(what, why) = "ERR", "invalid {}: {}",
        "A function or a replica is given a name that could not stand in a line, or that other nodes could not be told",
        "Use 1 to 256 bytes of printable ASCII without blanks and '#'";
    ReservedFunction = "ERR", "the cluster keeps its tokens under this function's name",
        "A client names the function __miso__", "Use another name";
    TooManyTokens(max) = "ERR", "the function has {} tokens already",
        "MISO.GRANT of one token more than a function may have at a time",
        "Take some back with MISO.REVOKE, or give them a shorter TTL";
    FunctionRequired = "NOFUNCTION", "this connection has not named a function",
        "A connection touches an object before it has named a function, and require-function is yes",
        "Name it: redis://FUNCTION:-@host:port, AUTH, or MISO.REGISTER";
    TooManyFunctions(max) = "ERR", "max number of functions reached ({})",
        "A function would begin on a node that has max-functions of them",
        "Wait until functions end, or raise max-functions";
    QuotaObjects(function, most) = "ERR", "quota: function '{}' may have {} objects",
        "A write would make an object more than MISO.QUOTA allows the function on this node",
        "Delete objects, or raise the quota";
    QuotaMemory(function, most) = "ERR", "quota: function '{}' may take {} bytes",
        "A write would make a function's objects take more memory than MISO.QUOTA allows it on this node",
        "Delete objects, or raise the quota";
    QuotaKey(function, most) = "ERR", "quota: function '{}' may have keys of {} bytes",
        "A write names a key that is longer than MISO.QUOTA allows the function on this node",
        "Use a shorter key, or raise the quota";
    QuotaConnections(function, most) = "ERR", "quota: function '{}' may have {} connections",
        "A connection names a function that has as many connections on this node as MISO.QUOTA allows it",
        "Close connections of the function, or raise the quota";
    QuotaWrites(function, most) = "ERR", "quota: function '{}' may write {} times a second",
        "A function writes or publishes more often than MISO.QUOTA allows it on this node",
        "Write less often and try again, or raise the quota";
    OwnQuota(function) = "NOPERM", "this user is bound to the function '{}', and sets no quota",
        "A user that is bound to a function would change what it may have",
        "Set quotas as a user that is bound to no function";
    TooManyReplicas = "ERR", "max number of registered replicas reached",
        "MISO.REGISTER of one replica more than a node registers",
        "Take registrations back with MISO.UNREGISTER, or give them a shorter TTL";
    InvalidExpire(command) = "ERR", "invalid expire time in '{}' command",
        "A time to live is 0, negative or too long",
        "Send a positive number; MISO.REGISTER takes 1 to 604800 seconds";
    ExpireNxAndOthers = "ERR",
        "NX and XX, GT or LT options at the same time are not compatible",
        "EXPIRE with NX and another condition", "Send one of them";
    ExpireGtAndLt = "ERR", "GT and LT options at the same time are not compatible",
        "EXPIRE with GT and LT", "Send one of them";
    ExpireOption(option) = "ERR", "Unsupported option {}",
        "EXPIRE with an unknown option", "Use NX, XX, GT or LT";
    StringTooLong = "ERR", "string exceeds maximum allowed size (proto-max-bulk-len)",
        "A string would become longer than 512 MiB", "Use several keys";
    OffsetOutOfRange = "ERR", "offset is out of range",
        "An offset is negative", "Send 0 or more";
    NoSuchKey = "ERR", "no such key",
        "The key that is to be renamed is absent", "Nothing is to be done";
    SameObject = "ERR", "source and destination objects are the same",
        "COPY of a key to itself", "Use another destination";
    LcsBoth = "ERR", "If you want both the length and indexes, please just use IDX.",
        "LCS with LEN and IDX", "Use IDX, which tells the length as well";
    LcsStrings = "ERR", "The specified keys must contain string values",
        "LCS of a key that holds no string", "Use keys of strings";
    LcsMemory = "ERR", "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        "LCS of strings so long that it would need more than 512 MiB", "Use shorter strings";
    // Sorted sets.
    NxAndXx = "ERR", "XX and NX options at the same time are not compatible",
        "ZADD with NX and XX", "Send one of them";
    GtLtNx = "ERR", "GT, LT, and/or NX options at the same time are not compatible",
        "ZADD with two of GT, LT and NX", "Send one of them";
    OneIncrement = "ERR", "INCR option supports a single increment-element pair",
        "ZADD INCR with several members", "Send one command for each";
    ScoreNaN = "ERR", "resulting score is not a number (NaN)",
        "An infinite score is incremented by the other infinity", "Set the score instead";
    MinMaxFloat = "ERR", "min or max is not a float",
        "A bound of scores is not a number", "Send 1.5, (1.5, -inf or +inf";
    MinMaxString = "ERR", "min or max not valid string range item",
        "A bound of members begins with no bracket", "Send [member, (member, - or +";
    LimitWithoutBy = "ERR",
        "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        "LIMIT with a range of ranks", "Send the ranks that are wanted";
    WithScoresByLex = "ERR", "syntax error, WITHSCORES not supported in combination with BYLEX",
        "WITHSCORES with a range of members", "Leave it out: all scores there are the same";
    NoInputKeys(command) = "ERR", "at least 1 input key is needed for '{}' command",
        "numkeys is not positive", "Send how many keys follow";
    CountNotPositive = "ERR", "count should be greater than 0",
        "COUNT is not a positive integer", "Send 1 or more";
    WeightNotFloat = "ERR", "weight value is not a float",
        "A weight is not a number", "Send a number such as 0.5";
    // Bitmaps.
    BitOffset = "ERR", "bit offset is not an integer or out of range",
        "The offset of a bit is not an integer, negative, or beyond 512 MiB", "Send 0 to 4294967295";
    BitValue = "ERR", "bit is not an integer or out of range",
        "The value of a bit is neither 0 nor 1", "Send 0 or 1";
    BitArgument = "ERR", "The bit argument must be 1 or 0.",
        "BITPOS of neither 0 nor 1", "Send 0 or 1";
    BitopNot = "ERR", "BITOP NOT must be called with a single source key.",
        "BITOP NOT with several sources", "Send one source";
    BitfieldType = "ERR",
        "Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        "The type of a BITFIELD is none", "Send i1 to i64, or u1 to u63";
    BitfieldOverflow = "ERR", "Invalid OVERFLOW type specified",
        "BITFIELD OVERFLOW with an unknown word", "Send WRAP, SAT or FAIL";
    BitfieldReadOnly = "ERR", "BITFIELD_RO only supports the GET subcommand",
        "BITFIELD_RO with SET or INCRBY", "Use BITFIELD";
    // Places.
    InvalidPlace(longitude, latitude) = "ERR", "invalid longitude,latitude pair {},{}",
        "A place is beyond 180 degrees of longitude or 85.05112878 of latitude",
        "Send the longitude first, then the latitude";
    InvalidUnit = "ERR", "unsupported unit provided. please use M, KM, FT, MI",
        "A unit of length is unknown", "Send m, km, ft or mi";
    RadiusNotFloat = "ERR", "need numeric radius",
        "A radius is not a number", "Send a number such as 0.5";
    RadiusNegative = "ERR", "radius cannot be negative", "A radius is below 0", "Send 0 or more";
    WidthNotFloat = "ERR", "need numeric width",
        "The width of a box is not a number", "Send a number such as 0.5";
    HeightNotFloat = "ERR", "need numeric height",
        "The height of a box is not a number", "Send a number such as 0.5";
    BoxNegative = "ERR", "height or width cannot be negative",
        "A side of a box is below 0", "Send 0 or more";
    NoSuchPlace = "ERR", "could not decode requested zset member",
        "The member in the middle of a search is absent", "Send another, or a place";
    GeoFrom(command) = "ERR", "exactly one of FROMMEMBER or FROMLONLAT can be specified for {}",
        "A search has no middle", "Send FROMMEMBER member or FROMLONLAT longitude latitude";
    GeoBy(command) = "ERR", "exactly one of BYRADIUS and BYBOX can be specified for {}",
        "A search has no size", "Send BYRADIUS radius unit or BYBOX width height unit";
    GeoAny = "ERR", "the ANY argument requires COUNT argument",
        "A search with ANY and without COUNT", "Send COUNT, too";
    GeoCount = "ERR", "COUNT must be > 0", "COUNT of a search is not positive", "Send 1 or more";
    GeoStoreWith(what) = "ERR",
        "{} is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
        "A search that stores its result is to tell more than members", "Leave these options out";
    DecrementOverflow = "ERR", "decrement would overflow",
        "DECRBY of the least integer", "Use INCRBY";
    IncrementNaN = "ERR", "increment would produce NaN or Infinity",
        "A float is incremented beyond what it can hold", "Send a smaller number";
    FeedCursor = "ERR", "invalid cursor, expected 0, $, or one of MISO.FEED or MISO.TOKEN for this function",
        "MISO.FEED was sent a cursor that none of these gave, or one of another function",
        "Begin with 0, and then send the cursor of the last answer";
    InvalidToken = "ERR", "invalid token, expected one of MISO.TOKEN",
        "A token is damaged or was never given out", "Send the reply of MISO.TOKEN as it is";
    // Nodes and the disk.
    InvalidAddress = "ERR", "invalid address, expected host:port of a node's peer port",
        "An address is not host:port", "Send the peer port's address, by default port + 1000";
    Replication(answer) = "ERR", "replication answers {}",
        "Replication gave an answer that the command does not know", "Report it: this is a fault of the server";
    AdoptionPending = "TRYAGAIN", "deletes are paused while another node adopts the counts of forgotten nodes",
        "A delete would lose counts that another node is adopting from a retired node",
        "Send it again a little later";
    NoAppendOnly = "ERR", "WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        "WAITAOF asks for this node's disk, and the node keeps its data in memory",
        "Send numlocal 0, or start the node with a data-dir";
    SaveInProgress = "ERR", "Background save already in progress",
        "A checkpoint is being written", "Wait for it; LASTSAVE tells when it is done";
    NothingKept = "ERR", "this node keeps nothing on disk; start it with --data-dir DIRECTORY to save",
        "SAVE, BGSAVE or BGREWRITEAOF on a node without a data directory", "Start it with --data-dir DIRECTORY";
    SaveEnded = "ERR", "the checkpoint did not end",
        "The thread that wrote a checkpoint ended early", "See the server's log";
    Failed(why) = "ERR", "{}",
        "The disk, the journal or a file refuses", "The text says what; see the server's log";
    NoShutdown = "ERR", "No shutdown in progress.",
        "SHUTDOWN ABORT, and the server is not shutting down", "Nothing is to be done";
    // Transactions.
    NestedMulti = "ERR", "MULTI calls can not be nested", "MULTI within MULTI", "Send EXEC or DISCARD first";
    WithoutMulti(command) = "ERR", "{} without MULTI", "EXEC or DISCARD, and no MULTI before", "Send MULTI first";
    WatchInMulti = "ERR", "WATCH inside MULTI is not allowed", "WATCH within MULTI", "Send WATCH before MULTI";
    NotInMulti = "ERR", "Command not allowed inside a transaction",
        "The command cannot be queued", "Send it before MULTI or after EXEC";
    TransactionTooLong = "ERR", "the transaction is larger than client-query-buffer-limit",
        "The queued commands are too many bytes", "Send fewer in one transaction";
    OnceId = "ERR", "once: an id has 1 to 64 bytes",
        "The id of MISO.ONCE, or of an Idempotency-Key, is empty or too long", "Use a UUID, or a part of one";
    OnceRead(command) = "ERR", "once: '{}' changes no data, so it needs no id",
        "MISO.ONCE of a read, or within an identified transaction", "Send it without an id";
    OnceNever(command) = "ERR", "once: '{}' cannot be repeated, or its reply may take more than 1 KB",
        "MISO.ONCE of a command that takes what another node may take too, that is for administrators, or whose reply is not kept",
        "Use another command, or send it without an id";
    OnceLong = "ERR", "once: the replies of this transaction may take more than 1 KB",
        "An identified transaction has too many commands for its reply to be kept", "Send fewer in one transaction";
    OnceFull(max) = "ERR", "once: {} ids are kept and none can be forgotten yet",
        "A function has once-max ids whose window is not over, or of which a node has not heard",
        "Raise once-max or lower once-window; MISO.NODES shows nodes that are away, and MISO.FORGET ends waiting for one";
    ExecAborted = "EXECABORT", "Transaction discarded because of previous errors.",
        "A command could not be queued", "See the error of that command";
    ExecAbortedBy(error) = "EXECABORT", "Transaction discarded because of: {}",
        "EXEC itself was refused", "See the error at the end of the line";
    // The connection.
    NoAuth = "NOAUTH", "Authentication required.",
        "A password is needed", "Send AUTH or HELLO with AUTH";
    HelloNoAuth = "NOAUTH",
        "HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        "HELLO without AUTH, and a password is needed", "Send HELLO 3 AUTH user password";
    WrongPass = "WRONGPASS", "invalid username-password pair or user is disabled.",
        "User or password is wrong", "Check them with ACL LIST as an administrator";
    TooManyFailures(ms) = "ERR", "too many failed authentications, try again in {} ms",
        "A user failed to authenticate too often from this address, and many attempts wait",
        "Check the user and the password, then wait";
    NoPassword = "ERR",
        "AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
        "AUTH with a password alone, and the default user has none",
        "Set requirepass, or connect without a password";
    ProtocolNotInteger = "ERR", "Protocol version is not an integer or out of range",
        "HELLO's version is not a number", "Send 2 or 3";
    NoProtocol = "NOPROTO", "unsupported protocol version",
        "HELLO asks for another version than 2 and 3", "Send 2 or 3";
    HelloSyntax(option) = "ERR", "Syntax error in HELLO option '{}'",
        "HELLO has an unknown option", "Use AUTH and SETNAME";
    InvalidIndex = "ERR", "DB index is out of range",
        "There is no database of this number", "Raise the setting databases, or use a function in its place";
    BitopSources(name) = "ERR", "BITOP {} must be called with at least two source keys.",
        "BITOP DIFF, DIFF1 or ANDOR of one key", "Send two source keys or more";
    SortStore = "ERR", "'sort' with STORE is not served: its result is a list, and lists are not served yet",
        "SORT .. STORE", "Leave STORE out, and keep what is answered with ZADD or SADD";
    SortNumber = "ERR", "One or more scores can't be converted into double",
        "SORT without ALPHA of what is no number", "Say ALPHA, or BY a key that holds a number";
    SortDenied(option) = "ERR", "{} option of SORT denied due to insufficient ACL permissions",
        "SORT with BY or GET by a user who may not read all keys", "Give the user the right to read all keys: %R~*";
    DecidesHere(name) = "ERR", "'{}' is refused by local-decisions: what it does follows from what this node alone knows; see docs/compatibility.md",
        "A command, or an option such as NX, that decides here while local-decisions is refuse",
        "Use a command that merges, or set local-decisions allow";
    CopyInMulti = "ERR", "COPY to another database is not served within MULTI",
        "COPY .. DB n within a transaction", "Send it before MULTI or after EXEC";
    NoCluster = "ERR", "This instance has cluster support disabled",
        "A command of Redis Cluster", "Use a client without cluster mode; MISO.NODES lists the nodes";
    SubscribedOnly(command) = "ERR",
        "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        "A RESP2 connection that is subscribed sends another command", "Use RESP3, or another connection";
    ClientName = "ERR", "Client names cannot contain spaces, newlines or special characters.",
        "CLIENT SETNAME with a name that a line cannot hold", "Use visible ASCII characters";
    ClientInfo(option) = "ERR", "{} cannot contain spaces, newlines or special characters.",
        "CLIENT SETINFO with a value that a line cannot hold", "Use visible ASCII characters";
    ClientOption(option) = "ERR", "Unrecognized option '{}'",
        "CLIENT SETINFO of something else", "Use LIB-NAME or LIB-VER";
    ClientType(kind) = "ERR", "Unknown client type '{}'",
        "CLIENT LIST or KILL names no type of clients", "Use normal, pubsub, replica or master";
    ClientIds = "ERR", "Invalid client ID", "CLIENT LIST ID of something that is no number", "Send ids of CLIENT LIST";
    ClientId = "ERR", "client-id should be greater than 0", "CLIENT KILL ID of 0 or no number", "Send an id of CLIENT LIST";
    NoClient = "ERR", "No such client", "CLIENT KILL of an address that no client has", "See CLIENT LIST";
    NoUser(name) = "ERR", "No such user '{}'", "CLIENT KILL USER of an unknown user", "See ACL USERS";
    PauseMode = "ERR", "CLIENT PAUSE mode must be WRITE or ALL", "CLIENT PAUSE has another mode", "Use WRITE or ALL";
    UnblockReason = "ERR", "CLIENT UNBLOCK reason should be TIMEOUT or ERROR", "CLIENT UNBLOCK has another reason", "Use TIMEOUT or ERROR";
    RedirectTwice = "ERR", "A client can only redirect to a single other client",
        "CLIENT TRACKING names REDIRECT twice", "Name one client";
    RedirectNobody = "ERR", "The client ID you want redirect to does not exist",
        "CLIENT TRACKING REDIRECT to a client that is not there", "Send an id of CLIENT LIST";
    PrefixWithoutBroadcast = "ERR", "PREFIX option requires BCAST mode to be enabled",
        "CLIENT TRACKING PREFIX without BCAST", "Add BCAST";
    OptInBroadcast = "ERR", "OPTIN and OPTOUT are not compatible with BCAST",
        "CLIENT TRACKING BCAST with OPTIN or OPTOUT", "Leave one out";
    OptInAndOut = "ERR", "You can't specify both OPTIN mode and OPTOUT mode",
        "CLIENT TRACKING with OPTIN and OPTOUT", "Leave one out";
    SwitchBroadcast = "ERR",
        "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
        "CLIENT TRACKING ON once more, with or without BCAST as it was not", "Send CLIENT TRACKING OFF first";
    SwitchOpt = "ERR",
        "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
        "CLIENT TRACKING ON once more, with another of OPTIN and OPTOUT", "Send CLIENT TRACKING OFF first";
    PrefixOverlaps(prefix, other) = "ERR",
        "Prefix '{}' overlaps with an existing prefix '{}'. Prefixes for a single client must not overlap.",
        "CLIENT TRACKING with a prefix that begins with one of before, or the other way round", "Leave the longer one out";
    PrefixesOverlap(prefix, other) = "ERR",
        "Prefix '{}' overlaps with another provided prefix '{}'. Prefixes for a single client must not overlap.",
        "CLIENT TRACKING with prefixes of which one begins with another", "Leave the longer one out";
    CachingOff = "ERR",
        "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        "CLIENT CACHING without CLIENT TRACKING ON", "Send CLIENT TRACKING ON OPTIN or OPTOUT first";
    CachingYes = "ERR", "CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        "CLIENT CACHING YES without OPTIN", "Leave it out: what is read is tracked";
    CachingNo = "ERR", "CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        "CLIENT CACHING NO without OPTOUT", "Leave it out: what is read is not tracked";
    Unblocked = "UNBLOCKED", "client unblocked via CLIENT UNBLOCK",
        "CLIENT UNBLOCK ended the command's wait with an error", "Send the command again";
    MaxClients = "ERR", "max number of clients reached",
        "There are maxclients connections; this one is closed", "Close connections, or raise maxclients";
    Loading = "LOADING", "Redis is loading the dataset in memory",
        "The node reads its data directory after a start", "Send it again later; /readyz says how far it is";
    ProtectedMode = "DENIED",
        "MISO is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to MISO from the same host the server is running, however MAKE SURE MISO is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.",
        "A client of another host, and the default user has no password", "Set requirepass";
    Internal = "ERR", "internal error",
        "A command failed within the server; the connection is closed", "Report it with the server's log";
    // Scripts.
    ScriptsOff = "ERR", "scripts are not run here: only the published ones that docs/http.md names are known",
        "EVAL of a script that is not known", "Send its commands, in MULTI and EXEC or /multi-exec if nothing may come between";
    NoScript = "NOSCRIPT", "No matching script. Please use EVAL.",
        "EVALSHA of a script that is not known", "Send EVAL, or the script's commands";
    ScriptNegativeKeys = "ERR", "Number of keys can't be negative", "EVAL with a negative numkeys", "Send 0 or more";
    ScriptWords = "ERR", "the script reads more keys or arguments than it is given",
        "A known script with too few words", "Send what its text reads";
    // HTTP.
    HttpUnavailable(command) = "ERR", "Command is not available: '{}'. See docs/http.md for details",
        "An HTTP request asks for a command that blocks, or that changes its connection",
        "Use the path that HTTP has for it, or a RESP connection";
    HttpNoToken = "NOAUTH", "no token: send it as 'Authorization: Bearer TOKEN' or '?_token=TOKEN'",
        "An HTTP request without a token",
        "Send USER:PASSWORD or what ACL RESTTOKEN replies; without users and passwords the function's name";
    HttpOpenToken = "WRONGPASS", "this node has no users: the token is FUNCTION or FUNCTION:-",
        "A token with a password, and the node has neither users nor passwords",
        "Send the function's name, or make the user by ACL SETUSER";
    HttpBody(why) = "ERR", "failed to parse the request: {}",
        "The body of an HTTP request is not what its path takes, or a path is badly encoded",
        "Send a JSON array of strings, numbers and booleans; to /pipeline and /multi-exec an array of these";
    HttpEmpty(what) = "ERR", "empty {}", "An HTTP request without a command", "Send a command";
    HttpMethod(method, allowed) = "ERR", "method {} is not allowed here, expected {}",
        "A path is asked for by a method that it does not have", "Use a method that the error names";
    HttpTooLarge(max) = "ERR", "max request size exceeded. Limit: {} bytes (http-max-body)",
        "The body of an HTTP request is too long", "Send less, or raise http-max-body";
    HttpAnswerTooLarge(max) = "ERR", "the answer would be longer than {} bytes (http-max-answer)",
        "The replies to an HTTP request are too long", "Ask for less at a time, or raise http-max-answer";
    HttpHeader(header, expected) = "ERR", "invalid value of header {}, expected {}",
        "A header of the dialect has a value that it does not know, or that does not go with the path",
        "Leave the header out, or send what the error names";
    HttpOrigin(origin) = "DENIED", "web pages from '{}' may not send requests here (http-cors-origins)",
        "A browser sends a request for a web page of another origin", "Add the origin to http-cors-origins";
    HttpHost(host) = "DENIED",
        "requests to the host '{}' are refused while no password is set: a web page may have misled a browser into sending them",
        "A request to a host name, in protected mode and without a password",
        "Use an IP address or localhost, or set a password";
    HttpSync = "TRYAGAIN", "this node does not know yet what the sync token covers (http-sync-timeout)",
        "A request has the sync token of another node's answer, and its updates do not come in time",
        "Send it again a little later, or to the node that gave the token";
    HttpNoPage = "ERR", "the live page is off", "http-page is no", "Set http-page to yes";
    HttpSlow = "ERR", "the body did not come in time", "The body of an HTTP request comes too slowly", "Send it faster";
    HttpConnections = "ERR", "max number of HTTP connections reached",
        "There are http-max-connections connections; this one is closed",
        "Close connections, or raise http-max-connections";
    // Administration.
    UnknownSetting(name) = "ERR", "Unknown option or number of arguments for CONFIG SET - '{}'",
        "There is no setting of this name", "See docs/settings.md";
    ConfigSet(name, why) = "ERR", "CONFIG SET failed (possibly related to argument '{}') - {}",
        "A setting cannot have the value, or cannot change at run time", "The text says what is allowed";
    NoConfigFile = "ERR", "The server is running without a config file",
        "CONFIG REWRITE, and there is no file", "Start the server with --config";
    ConfigRewrite(why) = "ERR", "Rewriting config file: {}",
        "The configuration file cannot be read or written", "The text says why";
    AclSetUser(rule, why) = "ERR", "Error in ACL SETUSER modifier '{}': {}",
        "A rule of ACL SETUSER is not valid", "The text says why";
    AclUnmatched(open) = "ERR", "Unmatched parenthesis in acl selector starting at '{}'.",
        "A selector of ACL SETUSER does not end", "Close it with a parenthesis";
    AclName = "ERR", "Usernames can't contain spaces or null characters", "A user is given such a name", "Use another name";
    AclDefault = "ERR", "The 'default' user cannot be removed", "ACL DELUSER default", "Turn it off: ACL SETUSER default off";
    AclCategory(name) = "ERR", "Unknown category '{}'", "ACL CAT of an unknown category", "See ACL CAT";
    AclNoUser(name) = "ERR", "User '{}' not found", "ACL DRYRUN of an unknown user", "See ACL USERS";
    AclNoCommand(name) = "ERR", "Command '{}' not found", "ACL DRYRUN of an unknown command", "See docs/commands.md";
    AclBits = "ERR",
        "ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        "ACL GENPASS of another number", "Send 1 to 4096";
    AclRestToken(user) = "ERR", "Wrong password or user \"{}\" does not exist",
        "ACL RESTTOKEN of a user that is not there, has no password, or has another one",
        "Check the user with ACL LIST; a user without a password has the token USER:-";
    AclNoFile = "ERR",
        "This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.",
        "ACL SAVE or LOAD, and there is no file", "Start the server with --aclfile";
    AclSave(why) = "ERR", "There was an error trying to save the ACLs: {}",
        "The ACL file cannot be written", "The text says why";
    AclLoad(path, why) = "ERR", "{}: {}", "The ACL file cannot be read or is not valid", "The text says which line and why";
    NoFrequency = "ERR",
        "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        "OBJECT FREQ", "Nothing is evicted here, so no frequencies are kept";
    SlowlogCount = "ERR", "count should be greater than or equal to -1", "SLOWLOG GET of less", "Send -1 for all";
    NoSamples(event) = "ERR", "No samples available for event '{}'", "LATENCY GRAPH of an event that was not seen", "See LATENCY LATEST";
}

/// Errors whose lines are made where they are found.
const ELSEWHERE: &[Row] = &[
    Row {
        code: "ERR",
        text: "Protocol error: {}",
        when: "What came is not RESP; the connection is closed",
        action: "Use a client library, and the port for clients",
    },
    Row {
        code: "NOPERM",
        text: "this user has no permissions to {}",
        when: "The user's ACL rules do not allow the command, a key or a channel",
        action: "See ACL GETUSER and ACL LOG as an administrator",
    },
    Row {
        code: "MISCONF",
        text: "Errors writing to the AOF file: {}",
        when: "The journal does not take writes: the disk is full or fails",
        action: "Make room; writes are taken again once the disk takes them",
    },
];

impl From<BadRequest> for CommandError {
    fn from(bad: BadRequest) -> CommandError {
        match bad {
            BadRequest::Unreadable(why) => CommandError::HttpBody(why.into()),
            BadRequest::Empty(what) => CommandError::HttpEmpty(what.into()),
        }
    }
}

impl From<WrongType> for CommandError {
    fn from(why: WrongType) -> CommandError {
        match why {
            WrongType::Other => CommandError::WrongType,
            WrongType::PlainKey => CommandError::PlainKey,
        }
    }
}

impl From<Refused> for CommandError {
    fn from(why: Refused) -> CommandError {
        match why {
            Refused::NotInteger => CommandError::NotInteger,
            Refused::NotFloat => CommandError::NotFloat,
            Refused::Overflow => CommandError::Overflow,
        }
    }
}

impl CommandError {
    /// Why a command about plain data does not fit `key`.
    pub(crate) fn misfit(misfit: Misfit, key: &[u8]) -> CommandError {
        let command = match misfit {
            Misfit::Plain(_) => return CommandError::WrongType,
            Misfit::Object(kind) => match kind {
                Type::GCounter => "GCOUNTER.ADD",
                Type::PnCounter => "PNCOUNTER.ADD",
                Type::GSet => "GSET.ADD",
                Type::OrSet => "ORSET.ADD",
                Type::EwFlag => "EWFLAG.ENABLE",
                Type::OrMap => "ORMAP.SET",
                _ => "MVREG.SET",
            },
        };
        CommandError::ObjectWithNames(key.into(), command.into())
    }
}

impl CommandError {
    /// An error whose whole line a lower layer made.
    pub(crate) fn text(line: impl Into<Cow<'static, str>>) -> CommandError {
        CommandError::Other(line.into())
    }

    /// Its code, by which errors are counted: always one of the table.
    pub(crate) fn code(&self) -> &'static str {
        match (self.parts(), self) {
            (Some((code, ..)), _) => code,
            (None, CommandError::Other(line)) => {
                let word = line.split(' ').next().unwrap_or_default();
                let mut known = ROWS.iter().chain(ELSEWHERE).map(|row| row.code);
                known.find(|code| *code == word).unwrap_or("ERR")
            }
            (None, _) => "ERR",
        }
    }

    /// The line of the reply, without the mark of an error and without its end.
    pub(crate) fn line(&self) -> Vec<u8> {
        let Some((code, text, args)) = self.parts() else {
            let CommandError::Other(line) = self else { return Vec::new() };
            return line.as_bytes().to_vec();
        };
        let mut line = [code, " "].concat().into_bytes();
        let mut args = args.into_iter();
        for (at, part) in text.split("{}").enumerate() {
            if at > 0 {
                line.extend(args.next().iter().flat_map(|shown| &*shown.0));
            }
            line.extend_from_slice(part.as_bytes());
        }
        line
    }

    /// The whole reply, for places that have no reply to write to.
    pub(crate) fn reply(&self) -> Vec<u8> {
        let mut out = Vec::new();
        Reply::new(&mut out, Resp::V2).error(self.line());
        out
    }
}

impl Display for CommandError {
    /// The line of the reply, in one line of text whatever bytes stand in it: for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line();
        for part in line.utf8_chunks() {
            for c in part.valid().chars() {
                if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
            }
            write!(f, "{}", part.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

/// docs/errors.md.
pub(crate) fn markdown() -> String {
    let mut page = String::from(
        "# Errors\n\nGenerated from the server's own table by `cargo xtask docs`.\n\n\
         An error reply is a line: its code, a blank, its text. `…` stands for what is said of the \
         case. `INFO errorstats` counts errors by code.\n\n\
         | code | text | when | what to do |\n|---|---|---|---|\n",
    );
    for row in ROWS.iter().chain(ELSEWHERE) {
        let text = row.text.replace("{}", "…").replace('|', "\\|");
        let _ = writeln!(page, "| `{}` | `{text}` | {} | {} |", row.code, row.when, row.action);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_complete_and_their_texts_differ() {
        let mut lines = Vec::new();
        for row in ROWS.iter().chain(ELSEWHERE) {
            assert!(row.code.bytes().all(|byte| byte.is_ascii_uppercase()), "{}", row.code);
            for words in [row.text, row.when, row.action] {
                assert!(!words.is_empty() && !words.contains(['\n', '\r']), "{words}");
            }
            lines.push((row.code, row.text));
        }
        lines.sort_unstable();
        let all = lines.len();
        lines.dedup();
        assert_eq!(lines.len(), all);
    }

    #[test]
    fn a_line_has_the_bytes_of_the_client() {
        let error =
            CommandError::UnknownSubcommand(b"f\xff\x01\r\no\0rest"[..].into(), "CLIENT".into());
        assert_eq!(error.line(), b"ERR unknown subcommand 'f\xff\x01\r\no'. Try CLIENT HELP.");
        assert_eq!(error.reply(), b"-ERR unknown subcommand 'f\xff\x01  o'. Try CLIENT HELP.\r\n");
        assert_eq!(
            error.to_string(),
            r"ERR unknown subcommand 'f\xff\u{1}\r\no'. Try CLIENT HELP."
        );
        let braces = CommandError::ConfigSet("{}".into(), "why".into());
        assert_eq!(
            braces.to_string(),
            "ERR CONFIG SET failed (possibly related to argument '{}') - why"
        );
        let long = CommandError::AclNoUser(vec![b'x'; 1 << 20].into());
        assert!(long.line().len() < 2 * SHOWN_MAX);
    }

    #[test]
    fn codes_are_those_of_the_table() {
        assert_eq!(CommandError::WrongType.code(), "WRONGTYPE");
        assert_eq!(CommandError::text("MISCONF Errors writing").code(), "MISCONF");
        assert_eq!(CommandError::text("ERR no such node").code(), "ERR");
        assert_eq!(CommandError::text("FORGED by a peer").code(), "ERR");
    }
}
