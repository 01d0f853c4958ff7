// The one interface through which everything sees a disk: an array of bytes with a size.
// Offsets and lengths are bytes; any alignment is allowed (drivers read-modify-write where their format needs it).
// Calls block and are not safe from several threads at once; devices call them from one worker thread per disk.
#pragma once

#include <span>
#include <string>

#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge {

constexpr u32 kSectorSize = 512;

// A run of bytes that are alike.
struct Extent {
    u64 length = 0;     // bytes
    bool zero = false;  // known to read as zeros, without reading them; false says nothing
};

// Whether a read may wait for the host's disk.
enum class Patience : u8 { wait, none };

class BlockDevice {
  public:
    virtual ~BlockDevice() = default;

    // Bytes; fixed for as long as the device is open. A multiple of 512.
    virtual u64 size() const = 0;
    virtual bool read_only() const = 0;
    // What it is, for messages: the file's name and format.
    virtual std::string describe() const = 0;

    // A range past the end is ErrorKind::usage; nothing is transferred.
    virtual Result<void> read(u64 offset, std::span<u8> into) = 0;
    // How the reads from now on are to be done. With Patience::none one that the host cannot serve from its memory is
    // ErrorKind::would_wait, and `into` may be half filled. False: this device always waits, and nothing has changed.
    virtual bool set_patience(Patience patience) { return patience == Patience::wait; }
    virtual Result<void> write(u64 offset, std::span<const u8> from) = 0;
    // After it returns, everything written before survives a crash of the process and of the host.
    virtual Result<void> flush() = 0;
    // The range's content is no longer needed: it may read as zeros or as before.
    virtual Result<void> discard(u64 offset, u64 length) = 0;
    // The range reads as zeros from now on.
    virtual Result<void> zero(u64 offset, u64 length) = 0;
    // The run that begins at `offset` (below size()) and reaches no further than the end: lets copies skip what is
    // empty.
    virtual Result<Extent> extent(u64 offset) { return Extent{size() - offset, false}; }
};

}  // namespace lodge
