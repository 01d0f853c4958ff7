#include "disks/server/http_password.h"

#include <crypt.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace lodge::server {

namespace {

constexpr size_t kShortest = 8, kLongest = 256;
constexpr const char* kMethod = "$y$";  // yescrypt, with the cost that libxcrypt recommends

// The working space is 32 KiB: not for a stack.
std::string crypt_text(const std::string& password, const std::string& setting) {
    const auto space = std::make_unique<crypt_data>();
    const char* hash = ::crypt_r(password.c_str(), setting.c_str(), space.get());
    return hash && hash[0] != '*' ? hash : "";
}

// In a time that does not tell where they differ.
bool same(const std::string& a, const std::string& b) {
    if (a.size() != b.size()) return false;
    int difference = 0;
    for (size_t i = 0; i < a.size(); ++i) difference |= a[i] ^ b[i];
    return difference == 0;
}

}  // namespace

Result<std::string> hash_password(const std::string& password) {
    if (password.size() < kShortest || password.size() > kLongest)
        return Error{ErrorKind::usage, "a password has 8 to 256 characters"};
    if (std::any_of(password.begin(), password.end(), [](unsigned char c) { return c < ' ' || c == 0x7F; }))
        return Error{ErrorKind::usage, "a password has no control characters"};
    char salt[CRYPT_GENSALT_OUTPUT_SIZE] = {};
    if (!::crypt_gensalt_rn(kMethod, 0, nullptr, 0, salt, sizeof salt))
        return Error{ErrorKind::io, std::string("no random bytes for a password's salt: ") + std::strerror(errno)};
    const std::string hash = crypt_text(password, salt);
    if (hash.empty()) return Error{ErrorKind::io, "this system's crypt(3) has no yescrypt"};
    return hash;
}

bool is_password(const std::string& password, const std::string& hash) {
    if (hash.empty() || password.size() > kLongest) return false;
    return same(crypt_text(password, hash), hash);
}

}  // namespace lodge::server
