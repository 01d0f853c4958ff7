// What passes a network card, written to a file that tcpdump and Wireshark read: pcap, in nanoseconds of guest time.
// Source: draft-ietf-opsawg-pcap (file and packet headers, link type 1).
//
// Frames are written in the order in which the guest's machine sees them, those from the network when they come to the
// card. On the virtual clock two identical runs write identical files.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/clock.h"
#include "devices/ports.h"

namespace lodge {

// One file; several cards may share it.
class CaptureFile {
  public:
    // ErrorKind::usage when the file cannot be written.
    static Result<std::unique_ptr<CaptureFile>> create(const std::string& path);
    ~CaptureFile();
    CaptureFile(const CaptureFile&) = delete;
    CaptureFile& operator=(const CaptureFile&) = delete;

    // `time`: nanoseconds since 1970. CPU thread.
    void write(u64 time, std::span<const u8> frame);

  private:
    explicit CaptureFile(std::FILE* file) : file_(file) {}
    std::FILE* file_;
    bool failed_ = false;
};

// Between a card and its network.
class CapturedPort final : public NetworkPort {
  public:
    // `network` may be null. All outlive the port; the clock is given before the first frame.
    CapturedPort(NetworkPort* network, CaptureFile& file) : network_(network), file_(file) {}
    void set_clock(const GuestClock& clock) { clock_ = &clock; }

    void send(std::span<const u8> frame) override;
    void arrived(std::span<const u8> frame) override;
    void taken(size_t bytes) override;

  private:
    u64 now() const;

    NetworkPort* network_;
    CaptureFile& file_;
    const GuestClock* clock_ = nullptr;
};

}  // namespace lodge
