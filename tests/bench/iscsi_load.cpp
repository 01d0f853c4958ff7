// Loads an iSCSI target through libiscsi: many sessions in one process, each with some reads under way.
//
//   iscsi_load PORTAL TARGET/LUN SESSIONS DEPTH BYTES random|sequential SECONDS
//   iscsi_load PORTAL TARGET/LUN SESSIONS DEPTH MEBIBYTES boot 0
//
// prints one line: reads, bytes per second, and the latencies that 50, 99 and 99.9 % of the reads do not exceed, in
// microseconds. `boot`: each session logs in, reads so much as a system that starts does (runs of 64 KiB among single
// pages of 4 KiB), and logs out; the line has the seconds from the first login to the last logout.
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr uint32_t kBlock = 512;
constexpr uint32_t kMostLogins = 32;  // at the same time

using Clock = std::chrono::steady_clock;

enum class Way { random, sequential, boot };

struct Plan {
    std::string portal, target;
    int lun = 0;
    unsigned sessions = 1, depth = 1;
    uint32_t bytes = 4096;
    uint64_t boot_bytes = 0;
    Way way = Way::random;
    double seconds = 5;
};

struct Load;

struct Read {
    struct Client* client = nullptr;
    std::vector<uint8_t> buffer;
    Clock::time_point began;
};

struct Client {
    Load* load = nullptr;
    iscsi_context* context = nullptr;
    int descriptor = -1;
    uint32_t events = 0;
    unsigned number = 0, under_way = 0;
    uint64_t next = 0, read_bytes = 0;
    bool ready = false, leaving = false, gone = false;
    std::mt19937_64 random;
    std::vector<Read> reads;
};

[[noreturn]] void fail(const char* what, iscsi_context* context) {
    std::fprintf(stderr, "iscsi_load: %s: %s\n", what, context ? iscsi_get_error(context) : "");
    std::exit(1);
}

struct Load {
    explicit Load(Plan wanted) : plan(std::move(wanted)), epoll(epoll_create1(EPOLL_CLOEXEC)) {}

    Plan plan;
    int epoll;
    uint64_t disk_bytes = 0;
    std::vector<std::unique_ptr<Client>> clients;
    unsigned begun = 0, ready = 0, gone = 0;
    bool measuring = false, over = false;
    std::vector<uint32_t> latencies;  // nanoseconds / 16

    void begin_logins();
    void watch(Client& client);
    void serve(int milliseconds);
    void start_reads(Client& client);
    void submit(Client& client, Read& read);
    void finished(Read& read);
    void leave(Client& client);
};

void logged_out(iscsi_context*, int, void*, void* data) {
    Client& client = *static_cast<Client*>(data);
    client.gone = true;
}

void Load::leave(Client& client) {
    if (client.leaving) return;
    client.leaving = true;
    if (iscsi_logout_async(client.context, logged_out, &client) != 0) fail("logout", client.context);
}

void read_done(iscsi_context* context, int status, void* data, void* private_data) {
    Read& read = *static_cast<Read*>(private_data);
    scsi_task* task = static_cast<scsi_task*>(data);
    if (status != SCSI_STATUS_GOOD) fail("a read failed", context);
    if (task->residual_status != SCSI_RESIDUAL_NO_RESIDUAL) fail("a read was short", context);
    scsi_free_scsi_task(task);
    read.client->load->finished(read);
}

void Load::submit(Client& client, Read& read) {
    uint32_t bytes = plan.bytes;
    uint64_t offset = 0;
    const bool page = plan.way == Way::boot && client.random() % 10 < 3;
    if (plan.way == Way::boot) bytes = page ? 4096 : 65536;
    if (plan.way == Way::random || page) {
        offset = client.random() % (disk_bytes / bytes) * bytes;
    } else {
        if (client.next + bytes > disk_bytes) client.next = 0;
        offset = client.next;
        client.next += bytes;
    }
    client.read_bytes += bytes;
    read.began = Clock::now();
    scsi_task* task =
        iscsi_read16_task(client.context, plan.lun, offset / kBlock, bytes, kBlock, 0, 0, 0, 0, 0, read_done, &read);
    if (!task) fail("no read", client.context);
    scsi_task_add_data_in_buffer(task, static_cast<int>(bytes), read.buffer.data());
    ++client.under_way;
}

void Load::finished(Read& read) {
    Client& client = *read.client;
    --client.under_way;
    if (measuring) {
        const auto nanoseconds =
            std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - read.began).count();
        latencies.push_back(static_cast<uint32_t>(std::min<int64_t>(nanoseconds / 16, UINT32_MAX)));
    }
    const bool enough = plan.way == Way::boot && client.read_bytes >= plan.boot_bytes;
    if (!over && !enough) return submit(client, read);
    if (client.under_way == 0 && (over || enough)) leave(client);
}

void Load::start_reads(Client& client) {
    for (Read& read : client.reads) submit(client, read);
}

void connected(iscsi_context* context, int status, void*, void* data) {
    Client& client = *static_cast<Client*>(data);
    if (status != SCSI_STATUS_GOOD) fail("login", context);
    client.ready = true;
    ++client.load->ready;
    if (client.load->plan.way == Way::boot) client.load->start_reads(client);
}

void Load::begin_logins() {
    while (begun < clients.size() && begun - ready < kMostLogins) {
        Client& client = *clients[begun++];
        if (iscsi_full_connect_async(client.context, plan.portal.c_str(), plan.lun, connected, &client) != 0)
            fail("connect", client.context);
        client.descriptor = iscsi_get_fd(client.context);
        epoll_event event{};
        event.data.ptr = &client;
        epoll_ctl(epoll, EPOLL_CTL_ADD, client.descriptor, &event);
        watch(client);
    }
}

void Load::watch(Client& client) {
    const int wanted = iscsi_which_events(client.context);
    const uint32_t events = (wanted & POLLIN ? EPOLLIN : 0u) | (wanted & POLLOUT ? EPOLLOUT : 0u);
    if (events == client.events) return;
    client.events = events;
    epoll_event event{};
    event.events = events;
    event.data.ptr = &client;
    epoll_ctl(epoll, EPOLL_CTL_MOD, client.descriptor, &event);
}

void Load::serve(int milliseconds) {
    epoll_event events[256];
    const int count = epoll_wait(epoll, events, 256, milliseconds);
    for (int i = 0; i < count; ++i) {
        Client& client = *static_cast<Client*>(events[i].data.ptr);
        const int happened = (events[i].events & EPOLLIN ? POLLIN : 0) | (events[i].events & EPOLLOUT ? POLLOUT : 0) |
                             (events[i].events & EPOLLERR ? POLLERR : 0) | (events[i].events & EPOLLHUP ? POLLHUP : 0);
        if (iscsi_service(client.context, happened) != 0) fail("the connection is lost", client.context);
        // What a read's end has begun goes out at once.
        if (iscsi_which_events(client.context) & POLLOUT && !client.gone) iscsi_service(client.context, POLLOUT);
        if (client.gone) {
            ++gone;
            epoll_ctl(epoll, EPOLL_CTL_DEL, client.descriptor, nullptr);
            iscsi_destroy_context(client.context);
            client.context = nullptr;
        } else {
            watch(client);
        }
    }
}

uint64_t size_of_disk(const Plan& plan) {
    iscsi_context* context = iscsi_create_context("iqn.2026-11.io.lodge.load:size");
    iscsi_set_targetname(context, plan.target.c_str());
    iscsi_set_session_type(context, ISCSI_SESSION_NORMAL);
    if (iscsi_full_connect_sync(context, plan.portal.c_str(), plan.lun) != 0) fail("connect", context);
    scsi_task* task = iscsi_readcapacity16_sync(context, plan.lun);
    if (!task || task->status != SCSI_STATUS_GOOD) fail("READ CAPACITY", context);
    const auto* capacity = static_cast<scsi_readcapacity16*>(scsi_datain_unmarshall(task));
    const uint64_t bytes = (capacity->returned_lba + 1) * kBlock;
    scsi_free_scsi_task(task);
    iscsi_logout_sync(context);
    iscsi_destroy_context(context);
    return bytes;
}

void make_clients(Load& load) {
    for (unsigned number = 0; number < load.plan.sessions; ++number) {
        auto client = std::make_unique<Client>();
        client->load = &load;
        client->number = number;
        client->random.seed(number + 1);
        const uint64_t place = load.disk_bytes / load.plan.sessions * number;
        client->next = load.plan.way == Way::boot ? 0 : place / load.plan.bytes * load.plan.bytes;
        client->context = iscsi_create_context(("iqn.2026-11.io.lodge.load:" + std::to_string(number)).c_str());
        iscsi_set_targetname(client->context, load.plan.target.c_str());
        iscsi_set_session_type(client->context, ISCSI_SESSION_NORMAL);
        iscsi_set_noautoreconnect(client->context, 1);
        client->reads.resize(load.plan.depth);
        for (Read& read : client->reads) {
            read.client = client.get();
            read.buffer.resize(std::max<uint32_t>(load.plan.bytes, 65536));
        }
        load.clients.push_back(std::move(client));
    }
}

double microseconds(std::vector<uint32_t>& latencies, double share) {
    if (latencies.empty()) return 0;
    const size_t at =
        std::min(latencies.size() - 1, static_cast<size_t>(static_cast<double>(latencies.size()) * share));
    std::nth_element(latencies.begin(), latencies.begin() + static_cast<long>(at), latencies.end());
    return latencies[at] * 16 / 1000.0;
}

double processor_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& value) {
        return static_cast<double>(value.tv_sec) + static_cast<double>(value.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

int main(int count, char** words) {
    if (count != 8) {
        std::fprintf(stderr,
                     "usage: iscsi_load PORTAL TARGET/LUN SESSIONS DEPTH BYTES random|sequential|boot SECONDS\n");
        return 2;
    }
    Plan plan{.portal = words[1], .target = words[2]};
    if (const size_t slash = plan.target.find('/'); slash != std::string::npos) {
        plan.lun = std::atoi(plan.target.c_str() + slash + 1);
        plan.target.resize(slash);
    }
    plan.sessions = static_cast<unsigned>(std::atoi(words[3]));
    plan.depth = static_cast<unsigned>(std::atoi(words[4]));
    const std::string_view way = words[6];
    plan.way = way == "boot" ? Way::boot : way == "sequential" ? Way::sequential : Way::random;
    plan.seconds = std::atof(words[7]);
    if (plan.way == Way::boot) {
        plan.boot_bytes = static_cast<uint64_t>(std::atoi(words[5])) << 20;
    } else {
        plan.bytes = static_cast<uint32_t>(std::atoi(words[5]));
    }
    Load load(plan);
    load.disk_bytes = size_of_disk(plan);
    load.latencies.reserve(1 << 24);
    make_clients(load);
    auto began = Clock::now();
    const auto since = [&] { return std::chrono::duration<double>(Clock::now() - began).count(); };
    double own = processor_seconds();
    load.measuring = plan.way == Way::boot;
    while (load.ready < plan.sessions) {
        load.begin_logins();
        load.serve(100);
    }
    if (plan.way != Way::boot) {
        for (auto& client : load.clients) {
            load.start_reads(*client);
            iscsi_service(client->context, POLLOUT);
            load.watch(*client);
        }
        for (began = Clock::now(); since() < 0.3;) load.serve(100);
        load.measuring = true;
        own = processor_seconds();
        for (began = Clock::now(); since() < plan.seconds;) load.serve(100);
        load.measuring = false;
        load.over = true;
    }
    const double measured = since();
    const double own_share = (processor_seconds() - own) / measured;
    while (load.gone < plan.sessions) load.serve(100);
    const double all = plan.way == Way::boot ? since() : measured;
    uint64_t bytes = load.latencies.size() * plan.bytes;
    if (plan.way == Way::boot) {
        bytes = 0;
        for (const auto& client : load.clients) bytes += client->read_bytes;
    }
    std::printf("reads %zu seconds %.3f bytes_per_second %.0f p50 %.1f p99 %.1f p999 %.1f own %.2f\n",
                load.latencies.size(), all, static_cast<double>(bytes) / all, microseconds(load.latencies, 0.5),
                microseconds(load.latencies, 0.99), microseconds(load.latencies, 0.999), own_share);
    return 0;
}
