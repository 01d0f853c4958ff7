#include "net/capture.h"

#include <cerrno>
#include <cstring>

namespace lodge {

namespace {

struct FileHeader {
    u32 magic = 0xA1B23C4D;  // nanoseconds
    u16 major = 2;
    u16 minor = 4;
    u32 zone = 0;
    u32 accuracy = 0;
    u32 longest = 65535;
    u32 link_type = 1;  // Ethernet
};

struct PacketHeader {
    u32 seconds;
    u32 nanoseconds;
    u32 stored;
    u32 length;
};

}  // namespace

Result<std::unique_ptr<CaptureFile>> CaptureFile::create(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "wbe");
    if (!file) return Error{ErrorKind::usage, "--capture " + path + ": " + std::strerror(errno)};
    const FileHeader header;
    std::fwrite(&header, sizeof header, 1, file);
    return std::unique_ptr<CaptureFile>(new CaptureFile(file));
}

CaptureFile::~CaptureFile() {
    std::fclose(file_);
}

// A full disk ends the capture, not the run; what was written stays readable.
void CaptureFile::write(u64 time, std::span<const u8> frame) {
    if (failed_) return;
    const PacketHeader header = {static_cast<u32>(time / kNanosecondsPerSecond),
                                 static_cast<u32>(time % kNanosecondsPerSecond), static_cast<u32>(frame.size()),
                                 static_cast<u32>(frame.size())};
    failed_ = std::fwrite(&header, sizeof header, 1, file_) != 1 ||
              std::fwrite(frame.data(), 1, frame.size(), file_) != frame.size();
}

u64 CapturedPort::now() const {
    return clock_ ? clock_->wall_base() * kNanosecondsPerSecond + clock_->now() : 0;
}

void CapturedPort::send(std::span<const u8> frame) {
    file_.write(now(), frame);
    if (network_) network_->send(frame);
}

void CapturedPort::arrived(std::span<const u8> frame) {
    file_.write(now(), frame);
    if (network_) network_->arrived(frame);
}

void CapturedPort::taken(size_t bytes) {
    if (network_) network_->taken(bytes);
}

}  // namespace lodge
