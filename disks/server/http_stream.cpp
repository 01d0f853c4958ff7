#include "disks/server/http_stream.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace lodge::server {

namespace {

constexpr std::chrono::milliseconds kGoodbye{500};
constexpr size_t kMostUnread = 256 * 1024;

// An IPv4 address that an IPv6 socket shows is written as what it is.
void describe(const sockaddr_storage& address, std::string& text, int& port) {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    if (address.ss_family == AF_INET) {
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
        ::inet_ntop(AF_INET, &v4.sin_addr, buffer.data(), buffer.size());
        port = ntohs(v4.sin_port);
    } else if (address.ss_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
        constexpr size_t kMappedPrefix = 12;
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
            ::inet_ntop(AF_INET, v6.sin6_addr.s6_addr + kMappedPrefix, buffer.data(), buffer.size());
        else
            ::inet_ntop(AF_INET6, &v6.sin6_addr, buffer.data(), buffer.size());
        port = ntohs(v6.sin6_port);
    }
    text = buffer.data();
}

int milliseconds_until(HttpStream::Clock::time_point deadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - HttpStream::Clock::now()).count();
    return static_cast<int>(std::clamp<decltype(left)>(left, 0, 3'600'000));
}

}  // namespace

HttpStream::HttpStream(int socket) : socket_(socket) {}

bool HttpStream::wait_for(short events) const {
    pollfd poll{socket_, events, 0};
    for (;;) {
        const int ready = ::poll(&poll, 1, milliseconds_until(deadline_));
        if (ready >= 0 || errno != EINTR) return ready > 0;
    }
}

bool HttpStream::fill() {
    if (!wait_for(POLLIN)) return false;
    const ssize_t count = ::recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (count <= 0) return false;
    begin_ = 0;
    end_ = static_cast<size_t>(count);
    return true;
}

bool HttpStream::wait_for_request(std::chrono::milliseconds longest) {
    deadline_ = Clock::now() + longest;
    return begin_ < end_ || fill();
}

void HttpStream::begin_request(std::chrono::milliseconds time, size_t most_bytes) {
    deadline_ = Clock::now() + time;
    left_ = most_bytes;
}

void HttpStream::finish() {
    ::shutdown(socket_, SHUT_WR);
    deadline_ = Clock::now() + kGoodbye;
    for (size_t unread = 0; unread < kMostUnread && fill();) unread += end_;
}

bool HttpStream::is_readable() const {
    return begin_ < end_ || wait_for(POLLIN);
}

bool HttpStream::is_writable() const {
    return wait_for(POLLOUT);
}

ssize_t HttpStream::read(char* to, size_t size) {
    if (left_ == 0) return -1;
    if (begin_ == end_ && !fill()) return -1;
    const size_t count = std::min({size, end_ - begin_, left_});
    std::memcpy(to, buffer_.data() + begin_, count);
    begin_ += count;
    left_ -= count;
    return static_cast<ssize_t>(count);
}

// All of it: httplib looks for how much was written, but ends the connection where it is not all.
ssize_t HttpStream::write(const char* from, size_t size) {
    size_t written = 0;
    while (written < size) {
        const ssize_t count = ::send(socket_, from + written, size - written, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count > 0)
            written += static_cast<size_t>(count);
        else if ((errno != EAGAIN && errno != EINTR) || !wait_for(POLLOUT))
            return -1;
    }
    return static_cast<ssize_t>(written);
}

void HttpStream::get_remote_ip_and_port(std::string& address, int& port) const {
    sockaddr_storage name{};
    socklen_t length = sizeof name;
    if (::getpeername(socket_, reinterpret_cast<sockaddr*>(&name), &length) == 0) describe(name, address, port);
}

void HttpStream::get_local_ip_and_port(std::string& address, int& port) const {
    sockaddr_storage name{};
    socklen_t length = sizeof name;
    if (::getsockname(socket_, reinterpret_cast<sockaddr*>(&name), &length) == 0) describe(name, address, port);
}

}  // namespace lodge::server
