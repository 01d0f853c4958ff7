/* What crosses into the kernel: system calls, signals, switches between processes, fork, exec, page faults. */
#define _GNU_SOURCE
#include "bench.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kPiped = 65536, kFaultPages = 256, kPageSize = 4096 };

uint64_t run_syscall(uint32_t work) {
    uint32_t good = 0;
    while (work--) good += syscall(SYS_getppid) >= 0;
    return good;
}

/* Mostly without the kernel: what this costs depends on which clock source the kernel trusts. */
uint64_t run_clock(uint32_t work) {
    struct timespec before, now;
    uint32_t good = 0;
    clock_gettime(CLOCK_MONOTONIC, &before);
    while (work--) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        good += now.tv_sec > before.tv_sec || (now.tv_sec == before.tv_sec && now.tv_nsec >= before.tv_nsec);
        before = now;
    }
    return good;
}

static volatile sig_atomic_t signals;
static void count_signal(int number) {
    (void)number;
    ++signals;
}

uint64_t run_signal(uint32_t work) {
    struct sigaction action = {.sa_handler = count_signal};
    sigaction(SIGUSR1, &action, NULL);
    signals = 0;
    while (work--) raise(SIGUSR1);
    return (uint64_t)signals;
}

/* One byte to another process and back. */
uint64_t run_switch(uint32_t work) {
    int there[2], back[2];
    require(pipe(there) == 0 && pipe(back) == 0, "pipe");
    const pid_t child = fork();
    require(child >= 0, "process");
    uint8_t byte = 0;
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1) {
            ++byte;
            if (write(back[1], &byte, 1) != 1) _exit(1);
        }
        _exit(0);
    }
    uint64_t checksum = 0;
    while (work--) {
        require(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "answer");
        checksum = stir(checksum, byte);
    }
    for (int i = 0; i < 2; ++i) {
        close(there[i]);
        close(back[i]);
    }
    waitpid(child, NULL, 0);
    return checksum;
}

/* 64 KiB into a pipe and out again: the kernel's copying. */
uint64_t run_pipe(uint32_t work) {
    static uint8_t in[kPiped], out[kPiped];
    int ends[2];
    require(pipe(ends) == 0, "pipe");
    for (uint32_t i = 0; i < kPiped; ++i) in[i] = (uint8_t)(i * 7);
    while (work--) {
        in[work % kPiped] ^= 0x55;
        require(write(ends[1], in, kPiped) == kPiped, "room in the pipe");
        for (ssize_t got = 0; got < kPiped;) {
            const ssize_t part = read(ends[0], out + got, (size_t)(kPiped - got));
            require(part > 0, "bytes in the pipe");
            got += part;
        }
    }
    close(ends[0]);
    close(ends[1]);
    return checksum_bytes(out, sizeof out);
}

static uint32_t exit_status(pid_t child) {
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 999;
}

uint64_t run_fork(uint32_t work) {
    uint64_t checksum = 0;
    while (work--) {
        const pid_t child = fork();
        require(child >= 0, "process");
        if (child == 0) _exit((int)(work & 127));
        checksum = stir(checksum, exit_status(child));
    }
    return checksum;
}

uint64_t run_exec(uint32_t work) {
    uint64_t checksum = 1;
    while (work--) {
        const pid_t child = fork();
        require(child >= 0, "process");
        if (child == 0) {
            execl(program_path, program_path, "--nothing", (char*)NULL);
            _exit(1);
        }
        checksum = stir(checksum, exit_status(child));
    }
    return checksum;
}

uint64_t run_faults(uint32_t work) {
    uint64_t checksum = 0;
    while (work--) {
        uint8_t* pages = mmap(NULL, kFaultPages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(pages != MAP_FAILED, "memory");
        for (uint32_t i = 0; i < kFaultPages; ++i) pages[i * kPageSize + i] += (uint8_t)(i + work);
        checksum = stir(checksum, pages[(work % kFaultPages) * (kPageSize + 1)]);
        munmap(pages, kFaultPages * kPageSize);
    }
    return checksum;
}
