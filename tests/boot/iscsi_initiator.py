"""An iSCSI initiator for tests: Debian's libiscsi, by ctypes. It logs in again by itself when its connection is lost."""
import ctypes

SECTOR = 512
GOOD = 0
UNIT_ATTENTION = 6  # the target has news, as that it has begun anew; the command is to be given again
LIBRARY = "libiscsi.so.7"


class Sense(ctypes.Structure):
    _fields_ = [("error_type", ctypes.c_ubyte), ("key", ctypes.c_int), ("ascq", ctypes.c_int),
                ("bits", ctypes.c_ubyte), ("bit_pointer", ctypes.c_ubyte), ("field_pointer", ctypes.c_uint16)]


class Data(ctypes.Structure):
    _fields_ = [("size", ctypes.c_int), ("bytes", ctypes.POINTER(ctypes.c_ubyte))]


class Task(ctypes.Structure):
    """The beginning of libiscsi's struct scsi_task."""
    _fields_ = [("status", ctypes.c_int), ("cdb_size", ctypes.c_int), ("xfer_dir", ctypes.c_int),
                ("expxferlen", ctypes.c_int), ("cdb", ctypes.c_ubyte * 16), ("residual_status", ctypes.c_int),
                ("residual", ctypes.c_size_t), ("sense", Sense), ("data", Data)]


class LoginFailed(Exception):
    pass


class CommandFailed(Exception):
    pass


def load():
    library = ctypes.CDLL(LIBRARY)
    library.iscsi_create_context.restype = ctypes.c_void_p
    library.iscsi_get_error.restype = ctypes.c_char_p
    for name in ("iscsi_read10_sync", "iscsi_write10_sync", "iscsi_synchronizecache10_sync"):
        getattr(library, name).restype = ctypes.POINTER(Task)
    return library


class Initiator:
    """A session. `secret` is (name, secret) of CHAP."""

    def __init__(self, port, vdisk, name, secret=None):
        self.library = load()
        self.context = ctypes.c_void_p(self.library.iscsi_create_context(name.encode()))
        self.library.iscsi_set_targetname(self.context, f"iqn.2026-11.io.lodge:{vdisk}".encode())
        self.library.iscsi_set_session_type(self.context, 2)
        self.library.iscsi_set_timeout(self.context, 0)
        if secret:
            self.library.iscsi_set_initiator_username_pwd(self.context, secret[0].encode(), secret[1].encode())
        if self.library.iscsi_full_connect_sync(self.context, f"127.0.0.1:{port}".encode(), 0):
            error = self.library.iscsi_get_error(self.context).decode(errors="replace")
            self.lose()
            raise LoginFailed(error)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.lose()

    def command(self, name, *arguments):
        call = getattr(self.library, name)
        try:
            return self.result(call(self.context, *arguments))
        except CommandFailed as failure:
            if f"sense {UNIT_ATTENTION}/" not in str(failure):
                raise
            return self.result(call(self.context, *arguments))

    def result(self, task):
        if not task:
            raise CommandFailed(self.library.iscsi_get_error(self.context).decode(errors="replace"))
        contents = task.contents
        status, key, code, data = contents.status, contents.sense.key, contents.sense.ascq, b""
        if contents.data.size > 0 and contents.data.bytes:
            data = ctypes.string_at(contents.data.bytes, contents.data.size)
        self.library.scsi_free_scsi_task(task)
        if status != GOOD:
            raise CommandFailed(f"status {status}, sense {key}/{code:04x}")
        return data

    def read(self, sector, count):
        return self.command("iscsi_read10_sync", 0, sector, count * SECTOR, SECTOR, 0, 0, 0, 0, 0)

    def write(self, sector, data):
        self.command("iscsi_write10_sync", 0, sector, data, len(data), SECTOR, 0, 0, 0, 0, 0)

    def flush(self):
        self.command("iscsi_synchronizecache10_sync", 0, 0, 0, 0, 0)

    def log_out(self):
        self.library.iscsi_logout_sync(self.context)
        self.lose()

    def lose(self):
        """Without a word to the target."""
        if self.context:
            self.library.iscsi_destroy_context(self.context)
            self.context = None
