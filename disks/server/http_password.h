// The administrator's password, as the store keeps it: crypt(3)'s yescrypt, which is slow and takes memory on purpose.
#pragma once

#include <string>

#include "core/base/result.h"

namespace lodge::server {

// What Settings::admin_password_hash holds for it. Usage: it is shorter than 8 or longer than 256 bytes, or has control
// characters.
Result<std::string> hash_password(const std::string& password);
// Takes some tens of milliseconds.
bool is_password(const std::string& password, const std::string& hash);

}  // namespace lodge::server
