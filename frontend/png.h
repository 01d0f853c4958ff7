// Writes a picture as a PNG file.
#pragma once

#include <string>

#include "core/base/result.h"
#include "devices/ports.h"

namespace lodge {

// Replaces `path`. ErrorKind::io when it cannot be written; an empty frame is ErrorKind::usage.
Result<void> write_png(const Frame& frame, const std::string& path);

}  // namespace lodge
