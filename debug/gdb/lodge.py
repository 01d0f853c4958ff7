# For gdb on a lodge guest: `source lodge.py` (or put it into ~/.gdbinit), then `target remote ...`.
#
#   lodge COMMAND...        a monitor command; gdb then looks at the machine afresh, wherever the command has left it
#   lodge-until WHAT        goes on to the next interrupt, device, mode or branch
#   lodge-break SEG:OFFSET  a breakpoint at real mode's address, or at one of a selector
#   lodge-x SEG:OFFSET [N]  N bytes of memory there (default 64)
#   $linear("SEG:OFFSET")   the same as a number, for expressions: x/8xh $linear("ss:rsp")
#
# Where the CPU does not run 64-bit code while gdb decodes it as such (the 64-bit layout in real or protected mode), the
# instructions at a stop are shown as the CPU takes them.
import re

import gdb


def monitor(command):
    """What a monitor command prints."""
    return gdb.execute("monitor " + command, to_string=True)


def look_again():
    """Forgets what gdb keeps of a machine that has moved behind its back."""
    gdb.execute("maintenance flush register-cache", to_string=True)
    gdb.execute("maintenance flush dcache", to_string=True)


def is_lodge():
    try:
        return gdb.selected_frame().read_register("ip_offset") is not None
    except (gdb.error, ValueError):
        return False


def linear(expression):
    """The linear address that lodge makes of SEG:OFFSET, a register or a sum."""
    text = monitor("print " + expression)
    match = re.match(r"0x([0-9A-Fa-f]+) = ", text)
    if not match:
        raise gdb.GdbError(text.strip())
    return int(match.group(1), 16)


class LodgeCommand(gdb.Command):
    """lodge COMMAND...: a monitor command of lodge's. `lodge help` lists them."""

    def __init__(self):
        super().__init__("lodge", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        gdb.write(monitor(argument or "help"))
        look_again()


class LodgeUntil(gdb.Command):
    """lodge-until interrupt|device|mode|branch: goes on to the next of these, and shows where that is."""

    def __init__(self):
        super().__init__("lodge-until", gdb.COMMAND_RUNNING)

    def invoke(self, argument, from_tty):
        gdb.write(monitor("until " + argument))
        look_again()
        show_instructions()


class LodgeBreak(gdb.Command):
    """lodge-break SEG:OFFSET: a breakpoint where that is now, by its linear address."""

    def __init__(self):
        super().__init__("lodge-break", gdb.COMMAND_BREAKPOINTS)

    def invoke(self, argument, from_tty):
        gdb.Breakpoint("*%#x" % linear(argument))


class LodgeExamine(gdb.Command):
    """lodge-x SEG:OFFSET [BYTES]: memory there."""

    def __init__(self):
        super().__init__("lodge-x", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        gdb.write(monitor("x " + argument))


class Linear(gdb.Function):
    """$linear("SEG:OFFSET"): the linear address."""

    def __init__(self):
        super().__init__("linear")

    def invoke(self, expression):
        return linear(expression.string())


def show_instructions():
    frame = gdb.selected_frame()
    bits = {"long_64": 64, "protected_32": 32, "compatibility_32": 32}.get(str(frame.read_register("mode")), 16)
    decodes = 64 if "x86-64" in frame.architecture().name() else 32
    if bits != decodes:
        gdb.write(monitor("disassemble pc 3"))


def on_stop(event):
    if is_lodge():
        show_instructions()


LodgeCommand()
LodgeUntil()
LodgeBreak()
LodgeExamine()
Linear()
gdb.events.stop.connect(on_stop)
