#include "disks/server/http_listener.h"

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>

#include "disks/server/http_stream.h"

namespace lodge::server {

namespace {

using std::chrono::seconds;

constexpr seconds kIdle{3};          // of a connection between two requests
constexpr seconds kRequestTime{15};  // from a request's first byte to its answer's last
constexpr size_t kMostHeaders = 32 * 1024;
constexpr size_t kMostBody = 64 * 1024;
constexpr int kMostRequests = 100;   // on one connection
constexpr size_t kMostWaiting = 64;  // connections that no thread has yet; the kernel keeps more
constexpr int kBacklog = 1024;       // a building that is switched on

// As many threads as it is told. A full queue stops the thread that accepts connections.
class Workers final : public httplib::TaskQueue {
  public:
    explicit Workers(u32 threads) {
        for (u32 i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
    }

    void enqueue(std::function<void()> task) override {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return tasks_.size() < kMostWaiting; });
        tasks_.push_back(std::move(task));
        changed_.notify_all();
    }

    void shutdown() override {
        {
            std::lock_guard lock(mutex_);
            ended_ = true;
        }
        changed_.notify_all();
        for (auto& each : threads_) each.join();
    }

  private:
    void work() {
        for (;;) {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return ended_ || !tasks_.empty(); });
            if (tasks_.empty()) return;
            const auto task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            changed_.notify_all();
            task();
        }
    }

    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> tasks_;
    bool ended_ = false;
};

}  // namespace

HttpListener::HttpListener(u32 threads, Handlers handlers) : handlers_(std::move(handlers)) {
    new_task_queue = [threads] { return new Workers(threads); };
    set_payload_max_length(kMostBody);
    set_tcp_nodelay(true);
    // httplib's own options let a second server share the port, and each get a part of the requests.
    set_socket_options([](socket_t socket) {
        const int yes = 1;
        ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    set_pre_routing_handler([this](const Request& request, Response& response) {
        return handlers_.early(request, response) ? HandlerResponse::Handled : HandlerResponse::Unhandled;
    });
    const auto late = [this](const Request& request, Response& response) { handlers_.late(request, response); };
    Post(".*", late).Put(".*", late).Patch(".*", late).Delete(".*", late);
    set_exception_handler([](const Request&, Response& response, std::exception_ptr) { response.status = 500; });
}

HttpListener::~HttpListener() {
    if (!thread_.joinable()) return;
    stop_all();
    thread_.join();
}

Result<u16> HttpListener::start(const std::string& address, u16 port) {
    errno = 0;
    const int bound = port == 0 ? bind_to_any_port(address) : bind_to_port(address, port) ? port : -1;
    if (bound <= 0) {
        const std::string why = errno == 0 ? "no such address on this host" : std::strerror(errno);
        return Error{ErrorKind::io, "cannot listen at " + address + " port " + std::to_string(port) + ": " + why};
    }
    ::listen(svr_sock_, kBacklog);
    thread_ = std::thread([this] { listen_after_bind(); });
    while (!is_running()) std::this_thread::yield();
    return static_cast<u16>(bound);
}

void HttpListener::stop_all() {
    stopping_ = true;
    stop();
    std::lock_guard lock(mutex_);
    for (const socket_t each : open_) ::shutdown(each, SHUT_RDWR);
}

bool HttpListener::process_and_close_socket(socket_t socket) {
    {
        std::lock_guard lock(mutex_);
        open_.insert(socket);
    }
    if (!stopping_) keep_answering(socket);
    {
        std::lock_guard lock(mutex_);
        open_.erase(socket);
    }
    ::close(socket);
    return true;
}

void HttpListener::keep_answering(socket_t socket) {
    HttpStream stream(socket);
    // The ranges that a request may ask for are nothing that we need, and could blow an answer up.
    const auto without_ranges = [](Request& request) { request.ranges.clear(); };
    for (int request = 1; request <= kMostRequests; ++request) {
        if (!stream.wait_for_request(kIdle)) return;
        stream.begin_request(kRequestTime, kMostHeaders + kMostBody);
        const bool last = request == kMostRequests || stopping_;
        bool closed = false;
        if (!process_request(stream, last, closed, without_ranges) || closed || last) break;
    }
    stream.finish();
}

}  // namespace lodge::server
