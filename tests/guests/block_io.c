/* A program for guests (and for image files on the host) that writes to block devices and looks whether they give back what was written, past the guest's
 * cache (O_DIRECT), and times them. Each sector is filled from its number, a seed and how often it was written.
 *
 *   block_io fill DEVICE SEED            writes every sector once
 *   block_io verify DEVICE SEED          reads every sector and compares
 *   block_io random DEVICE SEED COUNT    fill, COUNT writes and reads of 1 to 256 sectors anywhere, verify
 *   block_io time DEVICE WAY BYTES SIZE  WAY: read, write, randread or randwrite; BYTES in requests of SIZE
 *   block_io tray DEVICE WHAT            WHAT: open, close, lock or unlock the tray of a CD-ROM drive
 *
 * Exit status 0 and a line "block_io: ..." when all was right, else 1 and what was wrong. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/cdrom.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { kSector = 512, kMostSectors = 256, kMostBytes = 1 << 20 };

static const char *device;
static int file;
static uint64_t sectors;
static uint8_t *buffer;

static void fail(const char *what, uint64_t sector) {
    printf("block_io: %s: %s at sector %llu: %s\n", device, what, (unsigned long long)sector, strerror(errno));
    exit(1);
}

static uint64_t mix(uint64_t value) {
    value += 0x9E3779B97F4A7C15ull;
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9ull;
    value = (value ^ value >> 27) * 0x94D049BB133111EBull;
    return value ^ value >> 31;
}

static void make_sector(uint8_t *to, uint64_t sector, uint64_t seed, unsigned times) {
    uint64_t value = mix(sector ^ mix(seed) ^ (uint64_t)times << 56);
    for (unsigned at = 0; at < kSector; at += 8) {
        memcpy(to + at, &value, 8);
        value = value * 6364136223846793005ull + 1442695040888963407ull;
    }
}

static void check_sector(const uint8_t *got, uint64_t sector, uint64_t seed, unsigned times) {
    uint8_t wanted[kSector];
    make_sector(wanted, sector, seed, times);
    errno = 0;
    if (memcmp(got, wanted, kSector) != 0) fail("wrong data", sector);
}

static void transfer(int write, uint64_t sector, unsigned count) {
    const size_t bytes = (size_t)count * kSector;
    const off_t offset = (off_t)(sector * kSector);
    const ssize_t moved = write ? pwrite(file, buffer, bytes, offset) : pread(file, buffer, bytes, offset);
    if (moved != (ssize_t)bytes) fail(write ? "write failed" : "read failed", sector);
}

static void open_device(const char *name, int flags) {
    struct stat status;
    uint64_t bytes = 0;
    device = name;
    if (stat(name, &status) != 0) fail("no device", 0);
    const int is_file = S_ISREG(status.st_mode);
    file = open(name, flags | (is_file ? 0 : O_DIRECT));
    if (file < 0 || (!is_file && ioctl(file, BLKGETSIZE64, &bytes) != 0)) fail("cannot be opened", 0);
    if (is_file) bytes = (uint64_t)status.st_size;
    sectors = bytes / kSector;
    buffer = aligned_alloc(4096, kMostBytes);
}

static unsigned chunk_at(uint64_t sector) {
    return sectors - sector < kMostSectors ? (unsigned)(sectors - sector) : kMostSectors;
}

static void fill(uint64_t seed) {
    for (uint64_t sector = 0; sector < sectors; sector += kMostSectors) {
        const unsigned count = chunk_at(sector);
        for (unsigned i = 0; i < count; ++i) make_sector(buffer + i * kSector, sector + i, seed, 0);
        transfer(1, sector, count);
    }
    if (fsync(file) != 0) fail("flush failed", 0);
}

static void verify(uint64_t seed, const uint8_t *times) {
    for (uint64_t sector = 0; sector < sectors; sector += kMostSectors) {
        const unsigned count = chunk_at(sector);
        transfer(0, sector, count);
        for (unsigned i = 0; i < count; ++i)
            check_sector(buffer + i * kSector, sector + i, seed, times ? times[sector + i] : 0);
    }
}

static void random_order(uint64_t seed, unsigned operations) {
    uint8_t *times = calloc(sectors, 1);
    fill(seed);
    uint64_t state = seed;
    for (unsigned operation = 0; operation < operations; ++operation) {
        state = mix(state);
        const unsigned length = state & 1 ? 1 + (unsigned)(state >> 8) % 8 : 1 + (unsigned)(state >> 8) % kMostSectors;
        const unsigned count = length < sectors ? length : (unsigned)sectors;
        const uint64_t sector = mix(state + 1) % (sectors - count + 1);
        if (state & 2) {
            for (unsigned i = 0; i < count; ++i)
                make_sector(buffer + i * kSector, sector + i, seed, ++times[sector + i]);
            transfer(1, sector, count);
        } else {
            transfer(0, sector, count);
            for (unsigned i = 0; i < count; ++i)
                check_sector(buffer + i * kSector, sector + i, seed, times[sector + i]);
        }
        if (operation % 64 == 0 && fsync(file) != 0) fail("flush failed", sector);
    }
    verify(seed, times);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void time_requests(const char *way, uint64_t bytes, unsigned size) {
    const int write = strstr(way, "write") != NULL, anywhere = strncmp(way, "rand", 4) == 0;
    const unsigned count = size / kSector;
    const uint64_t requests = bytes / size, places = sectors / count;
    uint64_t state = 1;
    memset(buffer, 0x5A, kMostBytes);
    const double began = seconds();
    for (uint64_t request = 0; request < requests; ++request) {
        state = mix(state);
        transfer(write, (anywhere ? state % places : request % places) * count, count);
    }
    if (write && fsync(file) != 0) fail("flush failed", 0);
    const double took = seconds() - began;
    printf("block_io: %s %s %u bytes: %.6f seconds, %.3f MB/s, %.0f requests/s\n", device, way, size, took,
           (double)bytes / took / 1e6, (double)requests / took);
}

static int move_tray(const char *name, const char *what) {
    const int lock = strcmp(what, "lock") == 0;
    const unsigned long request = strcmp(what, "open") == 0    ? CDROMEJECT
                                  : strcmp(what, "close") == 0 ? CDROMCLOSETRAY
                                                               : CDROM_LOCKDOOR;
    device = name;
    file = open(name, O_RDONLY | O_NONBLOCK);
    if (file < 0 || ioctl(file, request, lock) != 0) fail("the tray does not move", 0);
    printf("block_io: %s: tray %s: good\n", device, what);
    return 0;
}

int main(int arguments, char **argument) {
    if (arguments < 4) return 2;
    const char *way = argument[1];
    const int writes = strcmp(way, "verify") != 0 && !(arguments > 4 && strstr(argument[3], "read"));
    if (strcmp(way, "tray") == 0) return move_tray(argument[2], argument[3]);
    open_device(argument[2], writes ? O_RDWR : O_RDONLY);
    const uint64_t seed = strtoull(argument[3], NULL, 0);
    if (strcmp(way, "time") == 0 && arguments == 6) {
        time_requests(argument[3], strtoull(argument[4], NULL, 0), (unsigned)strtoul(argument[5], NULL, 0));
        return 0;
    }
    if (strcmp(way, "fill") == 0) {
        fill(seed);
    } else if (strcmp(way, "verify") == 0) {
        verify(seed, NULL);
    } else if (strcmp(way, "random") == 0 && arguments == 5) {
        random_order(seed, (unsigned)strtoul(argument[4], NULL, 0));
    } else {
        return 2;
    }
    printf("block_io: %s: %s of %llu sectors: good\n", device, way, (unsigned long long)sectors);
    return 0;
}
