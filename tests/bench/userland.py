#!/usr/bin/env python3
"""Times the Debian userland in lodge and in QEMU's TCG: to its login, and a compiler run in it. See README.md beside
this file. Without the disk that `./dev userland` makes, this says so and measures nothing."""
import statistics
import sys

from programs import Run, Trouble, bench_options, lodge_command, one_dash, qemu_command

MEMORY = 1024
LOGIN_SECONDS, STEP_SECONDS = 1800, 900
LOGIN_GOAL = 0.7  # issue 4: times QEMU's

# A program of 200 functions, made in the guest so that little has to go through the serial port.
MAKE_SOURCE = r"""{ echo '#include <stdio.h>'; for i in $(seq 200); do
echo "static int f$i(int x) { int s = 0; for (int i = 0; i < x % 7 + $i; ++i) s += (i * x) ^ (s >> 3); return s; }"; done
echo 'int main(void) { int s = 0;'; for i in $(seq 200); do echo "s += f$i($i);"; done
echo 'printf("sum %d\n", s); }'; } > a.c
"""
PHASES = ["to the login", "compile", "to power-off"]


def live(command):
    """{phase: seconds} of one boot."""
    with Run(command) as run:
        def expect(pattern, seconds=STEP_SECONDS):
            if not run.expect(pattern, seconds):
                raise run.trouble(f"ended before {pattern} came")
            return run.read_at

        login = expect(r"login: ", LOGIN_SECONDS) - run.began
        run.send("root\n")
        expect(r"Password: ")
        run.send("root\n")
        expect(r"root@lodge-guest:")
        run.send(f"cd /tmp\n{MAKE_SOURCE}echo source-$((1))\n")
        expect(r"source-1")
        run.send("sync; echo start-$((1)); gcc -O2 -o a a.c && ./a; echo status-$?\n")
        compile_began = expect(r"start-1\r?\n")
        expect(r"sum -?\d+")
        compile_ended = expect(r"status-0")
        run.send("poweroff\n")
        asked = run.read_at
        run.finish(STEP_SECONDS)
        return dict(zip(PHASES, [login, compile_ended - compile_began, run.read_at - asked]))


def main():
    parser = bench_options()
    parser.set_defaults(rounds=1)
    options = parser.parse_args()
    folder = options.guests / "debian"
    disk = folder / "debian.vhd"
    if not disk.exists():
        print(f"Debian userland: skipped, for there is no {disk}; `./dev userland` makes it (as root).")
        return 0
    kernel = ["--kernel", folder / "vmlinuz", "--initrd", folder / "initrd.img", "--append", "console=ttyS0 panic=-1"]
    commands = {
        "lodge": lodge_command(options.lodge, options.engine, [*kernel, "--disk", f"{disk},mode=shared"], MEMORY),
        "QEMU": qemu_command(64, [*one_dash(kernel), "-drive", f"file={disk},format=vpc,if=ide,snapshot=on"], MEMORY),
    }
    times = {program: [] for program in commands}
    try:
        for _ in range(options.rounds):
            for program, command in commands.items():
                times[program].append(live(command))
    except Trouble as trouble:
        sys.exit(str(trouble))
    print(f"lodge --engine {options.engine or '(default)'} against QEMU TCG; medians of {options.rounds} interleaved runs")
    print(f"{'Debian userland, amd64':38}{'lodge s':>9}{'QEMU s':>9}{'ratio':>8}")
    for phase in PHASES:
        lodge, qemu = [statistics.median(run[phase] for run in times[program]) for program in ("lodge", "QEMU")]
        print(f"{phase:38}{lodge:9.2f}{qemu:9.2f}{lodge / qemu:8.2f}")
        if phase == PHASES[0]:
            login_ratio = lodge / qemu
    print(f"to the login: {login_ratio:.2f} times QEMU's time, "
          f"{'reaches' if login_ratio <= LOGIN_GOAL else 'MISSES'} the goal of {LOGIN_GOAL}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
