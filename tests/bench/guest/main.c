/* Runs the benchmarks named on the command line, or all, and prints for each
 *
 *     begin NAME
 *     bench NAME SECONDS CHECKSUM     or, if it cannot run here:     bench NAME n/a n/a
 *
 * and `bench-end` after the last. The two lines are pushed out at once, so that whoever reads them can measure the time
 * between them by a clock of its own. --native leaves out what needs the machine to itself; --repeat N runs each N times
 * and prints the shortest time; --processor-time prints what the processors gave this program and its children instead of
 * what the clock says; --list prints the names. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Work for 0.3 to 0.6 seconds in QEMU's TCG. */
static const struct benchmark benchmarks[] = {
    {"sieve", run_sieve, 200, NULL, false},
    {"sort", run_sort, 150, NULL, false},
    {"bytecode", run_bytecode, 120, NULL, false},
    {"fib", run_fib, 35, NULL, false},
    {"dispatch", run_dispatch, 600, prepare_dispatch, false},
    {"virtual", run_virtual, 1800, prepare_virtual, false},
    {"chase-16k", run_chase_16k, 100000000, prepare_chase_16k, false},
    {"chase-256k", run_chase_256k, 40000000, prepare_chase_256k, false},
    {"chase-8m", run_chase_8m, 2500000, prepare_chase_8m, false},
    {"crc32", run_crc32, 800, prepare_hash, false},
    {"sha256", run_sha256, 150, prepare_hash, false},
    {"aes-table", run_aes_table, 450000, prepare_aes, false},
    {"aes", run_aes, 2400000, prepare_aes, false},
    {"bignum", run_bignum, 3500, NULL, false},
    {"nbody-x87", run_nbody_x87, 20000, NULL, false},
    {"long-double", run_long_double, 200, NULL, false},
    {"nbody-sse", run_nbody_sse, 120000, NULL, false},
    {"matmul", run_matmul, 56, NULL, false},
    {"simd-copy", run_simd_copy, 25000, prepare_simd, false},
    {"simd-search", run_simd_search, 16000, prepare_simd, false},
    {"movs-small", run_movs_small, 3000, prepare_strings, false},
    {"movs-large", run_movs_large, 1700, prepare_strings, false},
    {"stos", run_stos, 1600, prepare_strings, false},
    {"scas", run_scas, 2500, prepare_strings, false},
    {"cmps", run_cmps, 900, prepare_strings, false},
    {"strlen", run_strlen, 3000, prepare_strings, false},
    {"code-writing", run_code_writing, 10000, NULL, false},
    {"syscall", run_syscall, 450000, NULL, false},
    {"clock", run_clock, 2500000, NULL, false},
    {"signal", run_signal, 12000, NULL, false},
    {"switch", run_switch, 4000, NULL, false},
    {"pipe", run_pipe, 1300, NULL, false},
    {"fork", run_fork, 80, NULL, false},
    {"exec", run_exec, 45, NULL, false},
    {"faults", run_faults, 80, NULL, false},
    {"vga-memory", run_vga_memory, 700, prepare_vga_memory, true},
    {"ports", run_ports, 700000, prepare_ports, true},
};
static const size_t benchmark_count = sizeof benchmarks / sizeof *benchmarks;

char* program_path;

uint64_t checksum_bytes(const void* bytes, size_t size) {
    typedef uint64_t word __attribute__((may_alias, aligned(1)));
    const word* words = bytes;
    uint64_t checksum = size;
    for (size_t i = 0; i < size / sizeof(word); ++i) checksum = stir(checksum, words[i]);
    return checksum;
}

void require(bool condition, const char* what) {
    if (condition) return;
    printf("guest_bench: no %s\n", what);
    exit(1);
}

static double seconds_of(time_t seconds, double parts) { return (double)seconds + parts; }

static double now(bool processor_time) {
    struct timespec time;
    clock_gettime(processor_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    double sum = seconds_of(time.tv_sec, (double)time.tv_nsec * 1e-9);
    if (processor_time) {
        struct rusage children;
        getrusage(RUSAGE_CHILDREN, &children);
        sum += seconds_of(children.ru_utime.tv_sec, (double)children.ru_utime.tv_usec * 1e-6);
        sum += seconds_of(children.ru_stime.tv_sec, (double)children.ru_stime.tv_usec * 1e-6);
    }
    return sum;
}

/* Until the last characters are in the serial port's own queue. tcdrain would do, but sleeps for some clock ticks, which
 * would lie between our measurement and that of whoever reads the lines. */
static void push_out(void) {
    int waiting = 0;
    fflush(stdout);
    do {
        if (ioctl(STDOUT_FILENO, TIOCOUTQ, &waiting) != 0) return;
    } while (waiting > 0);
}

static void measure(const struct benchmark* benchmark, int repeat, bool processor_time) {
    if (benchmark->prepare) benchmark->prepare();
    printf("begin %s\n", benchmark->name);
    push_out();
    double best = 0;
    uint64_t checksum = 0;
    for (int i = 0; i < repeat; ++i) {
        if (i > 0 && benchmark->prepare) benchmark->prepare();
        const double began = now(processor_time);
        checksum = benchmark->run(benchmark->work);
        const double seconds = now(processor_time) - began;
        if (i == 0 || seconds < best) best = seconds;
    }
    printf("bench %s %.6f %016llx\n", benchmark->name, best, (unsigned long long)checksum);
    push_out();
}

static bool is_wanted(const char* name, char** wanted) {
    if (!*wanted) return true;
    while (*wanted && strcmp(name, *wanted) != 0) ++wanted;
    return *wanted != NULL;
}

int main(int argc, char** argv) {
    bool native = false, list = false, processor_time = false;
    int repeat = 1, i = 1;
    program_path = argv[0];
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; ++i) {
        if (strcmp(argv[i], "--nothing") == 0) return 0; /* what run_exec runs */
        if (strcmp(argv[i], "--native") == 0) native = true;
        if (strcmp(argv[i], "--processor-time") == 0) processor_time = true;
        if (strcmp(argv[i], "--list") == 0) list = true;
        if (strcmp(argv[i], "--repeat") == 0 && i + 1 < argc) repeat = atoi(argv[++i]);
    }
    for (size_t j = 0; j < benchmark_count; ++j) {
        const struct benchmark* benchmark = &benchmarks[j];
        if (!is_wanted(benchmark->name, argv + i)) continue;
        if (list)
            printf("%s\n", benchmark->name);
        else if (native && benchmark->machine_only)
            printf("bench %s n/a n/a\n", benchmark->name);
        else
            measure(benchmark, repeat, processor_time);
    }
    if (!list) printf("bench-end\n");
    push_out();
    return 0;
}
