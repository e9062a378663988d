//! Attribute and keyword names as interned strings, made at first use and kept.

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3_ffi as ffi;

use super::object::{Any, AsObject};

/// A name that the interpreter knows by address.
pub(crate) struct Name {
    text: &'static CStr,
    object: AtomicPtr<ffi::PyObject>,
}

impl Name {
    pub(crate) const fn new(text: &'static CStr) -> Name {
        Name { text, object: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// The interned string. Only memory exhaustion can fail it, and then there is no way on.
    #[inline(always)]
    pub(crate) fn get(&self) -> &'static Any {
        let ptr = self.object.load(Ordering::Relaxed);
        if ptr.is_null() {
            return self.intern();
        }
        // SAFETY: interned once, and never released.
        unsafe { Any::from_ptr(ptr) }
    }

    #[cold]
    fn intern(&self) -> &'static Any {
        // SAFETY: text ends in NUL; the reference is kept for ever.
        unsafe {
            let ptr = ffi::PyUnicode_InternFromString(self.text.as_ptr());
            assert!(!ptr.is_null(), "out of memory while interning {:?}", self.text);
            self.object.store(ptr, Ordering::Relaxed);
            Any::from_ptr(ptr)
        }
    }

    pub(crate) fn text(&self) -> &'static str {
        self.text.to_str().unwrap_or("?")
    }

    /// Whether this str is the name.
    #[inline]
    pub(crate) fn matches(&self, other: &Any) -> bool {
        self.get().is(other)
            // SAFETY: a str (keyword names are) against an ASCII text.
            || unsafe { ffi::PyUnicode_CompareWithASCIIString(other.as_ptr(), self.text.as_ptr()) == 0 }
    }
}

macro_rules! names {
    ($($ident:ident = $text:literal),* $(,)?) => {
        $(#[cfg_attr(Py_3_14, allow(dead_code))] // Some serve older versions only.
        pub(crate) static $ident: Name = Name::new($text);)*
    };
}

names! {
    ACQUIRE = c"acquire",
    ABORT = c"abort",
    AENTER = c"__aenter__",
    AEXIT = c"__aexit__",
    ADD_TO_AWAITED_BY = c"future_add_to_awaited_by",
    ADD_DONE_CALLBACK = c"add_done_callback",
    BLOCKING = c"_asyncio_future_blocking",
    BROKEN = c"broken",
    CALL_EXCEPTION_HANDLER = c"call_exception_handler",
    CALL_SOON = c"call_soon",
    CALL_SOON_THREADSAFE = c"call_soon_threadsafe",
    CALL_LATER = c"call_later",
    CALLBACK = c"callback",
    CALLBACK_FAILED = c"_callback_failed",
    CANCELLING = c"cancelling",
    CANCEL_MESSAGE = c"_cancel_message",
    CLOSE = c"close",
    CREATE_TASK = c"create_task",
    FS = c"fs",
    FUT = c"fut",
    ARG = c"arg",
    ARGS = c"args",
    CALL_AT = c"call_at",
    EXCEPTIONS = c"exceptions",
    LOG_DESTROY_PENDING = c"_log_destroy_pending",
    MAKE_CANCELLED_ERROR = c"_make_cancelled_error",
    REMOVE_DONE_CALLBACK = c"remove_done_callback",
    RETURN_EXCEPTIONS = c"return_exceptions",
    RETURN_WHEN = c"return_when",
    RUN = c"run",
    RUN_IN_EXECUTOR = c"run_in_executor",
    TIME = c"time",
    SLEEP = c"sleep",
    GATHER = c"gather",
    SHIELD = c"shield",
    WAIT = c"wait",
    AS_COMPLETED = c"as_completed",
    ENSURE_FUTURE = c"ensure_future",
    TIMEOUT_AT = c"timeout_at",
    TIMEOUT_CLASS = c"Timeout",
    TIMEOUT = c"timeout",
    UNCANCEL = c"uncancel",
    CANCELLED = c"cancelled",
    CO_FLAGS = c"co_flags",
    GI_CODE = c"gi_code",
    CANCEL = c"cancel",
    CHECK_CALLBACK = c"_check_callback",
    CONTEXT = c"context",
    CORO = c"coro",
    CORO_OR_FUTURE = c"coro_or_future",
    CREATE_FUTURE = c"create_future",
    CREATE_TASK_BY_FACTORY = c"_create_task_by_factory",
    CURRENT_TASK = c"current_task",
    CURRENT_HANDLE = c"_current_handle",
    DELAY = c"delay",
    DISCARD_FROM_AWAITED_BY = c"future_discard_from_awaited_by",
    DONE = c"done",
    EAGER_TASK_FACTORY = c"eager_task_factory",
    EAGER_START = c"eager_start",
    DUNDER_ANNOTATIONS = c"__annotations__",
    DUNDER_CODE = c"__code__",
    DUNDER_CONTEXT = c"__context__",
    DUNDER_DEFAULTS = c"__defaults__",
    DUNDER_DOC = c"__doc__",
    DUNDER_KWDEFAULTS = c"__kwdefaults__",
    DUNDER_NAME = c"__name__",
    DUNDER_QUALNAME = c"__qualname__",
    ENABLED = c"enabled",
    ENSURE_FD_NO_TRANSPORT = c"_ensure_fd_no_transport",
    EXCEPTION = c"exception",
    FACTORY = c"factory",
    FD = c"fd",
    FILE = c"file",
    FILENO = c"fileno",
    FN = c"fn",
    FUNC = c"func",
    FUTURE = c"future",
    FUTURE_CLASS = c"Future",
    GET_DEBUG = c"get_debug",
    GET_LOOP = c"get_loop",
    IS_RUNNING = c"is_running",
    LIMIT = c"limit",
    LOCK = c"lock",
    LOCKED = c"locked",
    LOOP = c"loop",
    LOOP_CLASS = c"loop_class",
    LOOP_ATTR = c"_loop",
    MESSAGE = c"message",
    MSG = c"msg",
    N = c"n",
    N_WAITING = c"n_waiting",
    NAME = c"name",
    NOTIFY = c"notify",
    NOTIFY_QUIETLY = c"_notify",
    PARTIES = c"parties",
    PREDICATE = c"predicate",
    RELEASE = c"release",
    REPORT_SLOW = c"_report_slow",
    REPR = c"__repr__",
    REPR_INFO = c"_repr_info",
    SEND = c"send",
    RESET = c"reset",
    SET_EXCEPTION = c"set_exception",
    SET_RESULT = c"set_result",
    SET_RUNNING_OR_NOTIFY_CANCEL = c"set_running_or_notify_cancel",
    CO_CONSTS = c"co_consts",
    CO_NAME = c"co_name",
    CO_NAMES = c"co_names",
    SET_RUNNING_LOOP = c"_set_running_loop",
    SLOW_CALLBACK_DURATION = c"slow_callback_duration",
    SOURCE_TRACEBACK = c"source_traceback",
    TASK = c"task",
    TASK_CLASS = c"Task",
    RESULT = c"result",
    THROW = c"throw",
    VALUE = c"value",
    WAIT_FOR = c"wait_for",
    WAKE_UP_NEXT = c"_wake_up_next",
    WAITER = c"waiter",
    WHEN = c"when",
    // Queues.
    APPEND = c"append",
    CLEAR = c"clear",
    DUNDER_STR = c"__str__",
    EMPTY = c"empty",
    FINISHED = c"_finished",
    FORMAT = c"_format",
    FULL = c"full",
    GET = c"get",
    GETTERS = c"_getters",
    GET_NOWAIT = c"get_nowait",
    IMMEDIATE = c"immediate",
    IS_SHUTDOWN = c"_is_shutdown",
    ITEM = c"item",
    JOIN = c"join",
    MAXSIZE = c"maxsize",
    POP = c"pop",
    POPLEFT = c"popleft",
    PUT = c"put",
    PUTTERS = c"_putters",
    PUT_NOWAIT = c"put_nowait",
    QSIZE = c"qsize",
    QUEUE_GET = c"_get",
    QUEUE_INIT = c"_init",
    QUEUE_ITEMS = c"_queue",
    QUEUE_MAXSIZE = c"_maxsize",
    QUEUE_PUT = c"_put",
    REMOVE = c"remove",
    SET = c"set",
    UNFINISHED_TASKS = c"_unfinished_tasks",
    WAKEUP_NEXT = c"_wakeup_next",
    // The network.
    ATTACH = c"_attach",
    BACKLOG = c"backlog",
    BUFFER_UPDATED = c"buffer_updated",
    CONNECTION_LOST = c"connection_lost",
    CONNECTION_MADE = c"connection_made",
    DATA_RECEIVED = c"data_received",
    DEBUG = c"debug",
    DEFAULT = c"default",
    DETACH = c"_detach",
    EOF_RECEIVED = c"eof_received",
    EXC = c"exc",
    EXC_INFO = c"exc_info",
    EXTRA = c"extra",
    GETPEERNAME = c"getpeername",
    GETSOCKNAME = c"getsockname",
    GET_BUFFER = c"get_buffer",
    HIGH = c"high",
    LIST_OF_DATA = c"list_of_data",
    LOW = c"low",
    PAUSE_WRITING = c"pause_writing",
    PEERNAME = c"peername",
    PROTOCOL = c"protocol",
    PROTOCOL_FACTORY = c"protocol_factory",
    RESUME_WRITING = c"resume_writing",
    SERVER = c"server",
    SETBLOCKING = c"setblocking",
    SOCK = c"sock",
    SOCKET = c"socket",
    SOCKNAME = c"sockname",
    TRANSPORT = c"transport",
    TRY_NATIVE = c"TRY_NATIVE",
    WARNING = c"warning",
    // Sockets.
    ACCEPT = c"accept",
    ADDRESS = c"address",
    BUF = c"buf",
    BUFSIZE = c"bufsize",
    CONNECT = c"connect",
    DATA = c"data",
    ENSURE_RESOLVED = c"_ensure_resolved",
    FAMILY = c"family",
    GETSOCKOPT = c"getsockopt",
    GETTIMEOUT = c"gettimeout",
    NBYTES = c"nbytes",
    PROTO = c"proto",
    RECV = c"recv",
    RECVFROM = c"recvfrom",
    RECVFROM_INTO = c"recvfrom_into",
    RECV_INTO = c"recv_into",
    SENDTO = c"sendto",
    SOCK_ACCEPT = c"sock_accept",
    SOCK_CONNECT = c"sock_connect",
    SOCK_RECV = c"sock_recv",
    SOCK_RECVFROM = c"sock_recvfrom",
    SOCK_RECVFROM_INTO = c"sock_recvfrom_into",
    SOCK_RECV_INTO = c"sock_recv_into",
    SOCK_SENDALL = c"sock_sendall",
    SOCK_SENDTO = c"sock_sendto",
    TYPE = c"type",
    // Datagrams.
    ADDR = c"addr",
    DATAGRAM_RECEIVED = c"datagram_received",
    DUNDER_GET = c"__get__",
    ERROR_RECEIVED = c"error_received",
    HEADER_SIZE = c"_header_size",
    READ_READY = c"_read_ready",
    SENDTO_READY = c"_sendto_ready",
    // Streams.
    CAN_WRITE_EOF = c"can_write_eof",
    CLIENT_CONNECTED_ARG = c"client_connected_cb",
    CONSUMED = c"consumed",
    DEL = c"__del__",
    DRAIN = c"drain",
    DRAIN_HELPER = c"_drain_helper",
    EXTEND = c"extend",
    FEED_DATA = c"feed_data",
    FEED_EOF = c"feed_eof",
    FUNC_NAME = c"func_name",
    GET_CLOSE_WAITER = c"_get_close_waiter",
    GET_EVENT_LOOP = c"get_event_loop",
    GET_EXTRA_INFO = c"get_extra_info",
    IS_CLOSING = c"is_closing",
    MAYBE_RESUME_TRANSPORT = c"_maybe_resume_transport",
    PARTIAL = c"partial",
    PAUSE_READING = c"pause_reading",
    READ = c"read",
    READER = c"reader",
    READER_ARG = c"stream_reader",
    READEXACTLY = c"readexactly",
    READLINE = c"readline",
    READUNTIL = c"readuntil",
    REPLACE_TRANSPORT = c"_replace_transport",
    REPLACE_WRITER = c"_replace_writer",
    RESUME_READING = c"resume_reading",
    SEPARATOR = c"separator",
    SET_TRANSPORT = c"set_transport",
    SOURCE_TRACEBACK_ATTR = c"_source_traceback",
    START_TLS = c"start_tls",
    STREAM_READER = c"_stream_reader",
    WAIT_CLOSED = c"wait_closed",
    WAIT_FOR_DATA = c"_wait_for_data",
    WAKEUP_WAITER = c"_wakeup_waiter",
    WRITE = c"write",
    WRITELINES = c"writelines",
    WRITE_EOF = c"write_eof",
    // TLS.
    ABORT_QUIETLY = c"_abort",
    CALL_CONNECTION_MADE = c"call_connection_made",
    CIPHER = c"cipher",
    COMPRESSION = c"compression",
    CO_ARGCOUNT = c"co_argcount",
    DO_HANDSHAKE = c"do_handshake",
    FALLBACK = c"FALLBACK",
    FEED = c"_feed",
    GETPEERCERT = c"getpeercert",
    IS_TRANSPORT_CLOSING = c"_is_transport_closing",
    ON_SHUTDOWN_COMPLETE = c"_on_shutdown_complete",
    PEERCERT = c"peercert",
    PENDING = c"pending",
    SECURE = c"secure",
    SERVER_HOSTNAME = c"server_hostname",
    SERVER_SIDE = c"server_side",
    SSLCONTEXT = c"sslcontext",
    SSL_HANDSHAKE_TIMEOUT = c"ssl_handshake_timeout",
    SSL_OBJECT = c"ssl_object",
    SSL_SHUTDOWN_TIMEOUT = c"ssl_shutdown_timeout",
    UNWRAP = c"unwrap",
    WRAP_BIO = c"wrap_bio",
}
