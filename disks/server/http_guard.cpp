#include "disks/server/http_guard.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include <cctype>
#include <cstdlib>

#include "disks/server/http_password.h"

namespace lodge::server {

namespace {

constexpr std::chrono::seconds kAfterWrong{1};  // until the same address may try another
constexpr u32 kMostAttempts = 2;                // at a time: each takes memory and a processor
constexpr size_t kMostWrong = 1024;
constexpr size_t kMostRight = 8;  // browsers may send different users' names
constexpr size_t kLongestHeader = 1024;

std::string lower(std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
}

AdminRefusal ask_for_password() {
    return {401, "the administrator's password, please"};
}

}  // namespace

bool is_loopback_address(const std::string& address) {
    in_addr v4{};
    constexpr u32 kLoopbackNet = 127;
    if (::inet_pton(AF_INET, address.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == kLoopbackNet;
    in6_addr v6{};
    return ::inet_pton(AF_INET6, address.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool is_loopback_name(const std::string& host) {
    if (host.starts_with('['))
        return host.find(']') != std::string::npos && is_loopback_address(host.substr(1, host.find(']') - 1));
    const std::string name = lower(host.substr(0, host.find(':')));
    return name == "localhost" || is_loopback_address(name);
}

std::optional<std::string> basic_password(const std::string& authorization) {
    const std::string scheme = "basic ";
    if (authorization.size() > kLongestHeader || lower(authorization.substr(0, scheme.size())) != scheme) return {};
    const std::string text = authorization.substr(scheme.size());
    if (text.empty() || text.size() % 4 != 0) return {};
    std::vector<u8> plain(text.size() / 4 * 3 + 1);
    const int count =
        ::EVP_DecodeBlock(plain.data(), reinterpret_cast<const u8*>(text.data()), static_cast<int>(text.size()));
    if (count < 0) return {};
    // EVP_DecodeBlock counts the padding's zeros.
    const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    const std::string pair(plain.begin(), plain.begin() + count - static_cast<std::ptrdiff_t>(padding));
    const size_t colon = pair.find(':');
    if (colon == std::string::npos) return {};
    return pair.substr(colon + 1);
}

AdminGuard::AdminGuard(bool from_anywhere) : from_anywhere_(from_anywhere) {
    if (::getrandom(key_.data(), key_.size(), 0) != static_cast<ssize_t>(key_.size())) std::abort();
}

std::optional<AdminRefusal> AdminGuard::refusal(const AdminRequest& request, const std::string& hash) {
    const bool here = is_loopback_address(request.address);
    if (!here && !from_anywhere_)
        return AdminRefusal{403, "administration is only for this host: ask at 127.0.0.1, or see docs/vdisk.md"};
    if (!hash.empty()) {
        if (auto refusal = check_password(request, hash)) return refusal;
    } else {
        if (!here) return AdminRefusal{403, "administration from elsewhere needs a password in the store's settings"};
        if (!is_loopback_name(request.host))
            return AdminRefusal{403, "without a password, ask at localhost or 127.0.0.1, not under another name"};
    }
    if (request.changes && !request.has_our_header)
        return AdminRefusal{403, "a request that changes something needs the header X-Lodge"};
    return {};
}

AdminGuard::Digest AdminGuard::digest(const std::string& authorization, const std::string& hash) const {
    const std::string text = hash + '\n' + authorization;
    Digest out{};
    unsigned length = 0;
    if (!::HMAC(::EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const u8*>(text.data()),
                text.size(), out.data(), &length) ||
        length != out.size())
        std::abort();
    return out;
}

std::optional<AdminRefusal> AdminGuard::begin_attempt(const std::string& address) {
    std::lock_guard lock(mutex_);
    const auto found = wrong_.find(address);
    if (attempts_ >= kMostAttempts || (found != wrong_.end() && Clock::now() - found->second < kAfterWrong))
        return AdminRefusal{429, "too many passwords at a time: wait a second"};
    ++attempts_;
    return {};
}

void AdminGuard::end_attempt(const std::string& address, bool right, const Digest& digest) {
    std::lock_guard lock(mutex_);
    --attempts_;
    if (right) {
        if (right_.size() >= kMostRight) right_.erase(right_.begin());
        right_.push_back(digest);
        wrong_.erase(address);
        return;
    }
    if (wrong_.size() >= kMostWrong) wrong_.clear();
    wrong_[address] = Clock::now();
}

std::optional<AdminRefusal> AdminGuard::check_password(const AdminRequest& request, const std::string& hash) {
    const auto password = basic_password(request.authorization);
    if (!password) return ask_for_password();
    const Digest mark = digest(request.authorization, hash);
    {
        std::lock_guard lock(mutex_);
        for (const Digest& each : right_)
            if (::CRYPTO_memcmp(each.data(), mark.data(), mark.size()) == 0) return {};
    }
    if (auto refusal = begin_attempt(request.address)) return refusal;
    const bool right = is_password(*password, hash);
    end_attempt(request.address, right, mark);
    if (!right) return ask_for_password();
    return {};
}

}  // namespace lodge::server
