#include "devices/fw_cfg.h"

#include <algorithm>
#include <cassert>

namespace lodge {

namespace {

constexpr u16 kSelectorPort = 0x510;  // 16 bits; the data port is the byte above
constexpr u16 kDmaPort = 0x514;       // 64 bits, big-endian; writing the low half starts

constexpr u32 kVersionPlain = 0x1;
constexpr u32 kVersionDma = 0x2;

// The DMA descriptor: u32 control, u32 length, u64 address, all big-endian.
constexpr u32 kDescriptorSize = 16;
constexpr u32 kControlError = 0x01;
constexpr u32 kControlRead = 0x02;
constexpr u32 kControlSkip = 0x04;
constexpr u32 kControlSelect = 0x08;
constexpr u32 kControlWrite = 0x10;

constexpr char kDmaSignature[] = "QEMU CFG";
constexpr size_t kDirectoryName = 56;

constexpr RegisterInfo kPortRegisters[] = {{1, 8, "DATA", RegisterRead::changes}, {0, 16, "SELECTOR"}};
constexpr RegisterInfo kDmaRegisters[] = {{0, 32, "DMA_ADDRESS_HIGH"}, {4, 32, "DMA_ADDRESS_LOW"}};

}  // namespace

FwCfg::FwCfg(const Platform& platform) : memory_(platform.memory), log_(platform.log) {
    auto ports = platform.ports.claim(
        kSelectorPort, 2, "fw_cfg", [this](u64 offset, unsigned size) { return read_ports(offset, size); },
        [this](u64 offset, unsigned size, u64 value) { write_ports(offset, size, value); }, kPortRegisters);
    auto dma = platform.ports.claim(
        kDmaPort, 8, "fw_cfg dma", [this](u64 offset, unsigned size) { return read_dma(offset, size); },
        [this](u64 offset, unsigned size, u64 value) { write_dma(offset, size, value); }, kDmaRegisters);
    assert(ports && dma);
    ports_ = std::move(*ports);
    dma_ = std::move(*dma);
    add_item(kSignature, {'Q', 'E', 'M', 'U'});
    add_integer(kId, kVersionPlain | kVersionDma, 4);
    build_directory();
}

void FwCfg::add_item(u16 key, std::vector<u8> bytes) {
    items_[key] = std::move(bytes);
}

void FwCfg::add_integer(u16 key, u64 value, unsigned size) {
    std::vector<u8> bytes(size);
    std::memcpy(bytes.data(), &value, size);
    add_item(key, std::move(bytes));
}

void FwCfg::add_file(std::string_view name, std::vector<u8> bytes) {
    assert(name.size() <= kMostName && !file(name));
    const u16 key = static_cast<u16>(kFirstFile + files_.size());
    files_.push_back({std::string(name), key});
    add_item(key, std::move(bytes));
    build_directory();
}

const std::vector<u8>* FwCfg::file(std::string_view name) const {
    const auto found = std::find_if(files_.begin(), files_.end(), [&](const File& file) { return file.name == name; });
    return found == files_.end() ? nullptr : &items_.at(found->key);
}

// u32 count, then for each file u32 size, u16 key, u16 reserved, 56 bytes of name; big-endian.
void FwCfg::build_directory() {
    std::vector<u8> directory(4 + files_.size() * (8 + kDirectoryName));
    store_big_endian(directory.data(), static_cast<u32>(files_.size()));
    u8* entry = directory.data() + 4;
    for (const File& file : files_) {
        store_big_endian(entry, static_cast<u32>(items_.at(file.key).size()));
        store_big_endian(entry + 4, file.key);
        std::copy(file.name.begin(), file.name.end(), entry + 8);
        entry += 8 + kDirectoryName;
    }
    add_item(kFileDirectory, std::move(directory));
}

const std::vector<u8>& FwCfg::selected() const {
    const auto item = items_.find(key_);
    return item == items_.end() ? nothing_ : item->second;
}

u8 FwCfg::read_data() {
    const std::vector<u8>& item = selected();
    return position_ < item.size() ? item[position_++] : 0;
}

u64 FwCfg::read_ports(u64 offset, unsigned size) {
    if (offset == 1 && size == 1) return read_data();
    return size == 1 ? 0xFF : 0xFFFF;  // the selector cannot be read
}

void FwCfg::write_ports(u64 offset, unsigned size, u64 value) {
    if (offset != 0 || size != 2) return;  // writing data is no longer supported by the interface
    key_ = static_cast<u16>(value);
    position_ = 0;
}

u64 FwCfg::read_dma(u64 offset, unsigned size) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{static_cast<u8>(kDmaSignature[offset + i])} << (8 * i);
    return value;
}

void FwCfg::write_dma(u64 offset, unsigned size, u64 value) {
    u8 bytes[8];
    store_big_endian(bytes, dma_address_);
    for (unsigned i = 0; i < size; ++i) bytes[offset + i] = static_cast<u8>(value >> (8 * i));
    dma_address_ = load_big_endian<u64>(bytes);
    if (offset + size < 8) return;
    const u64 descriptor = dma_address_;
    dma_address_ = 0;
    transfer(descriptor);
}

void FwCfg::transfer(u64 descriptor) {
    u8 bytes[kDescriptorSize];
    memory_.read(descriptor, bytes);
    const bool done =
        transfer(load_big_endian<u32>(bytes), load_big_endian<u32>(bytes + 4), load_big_endian<u64>(bytes + 8));
    u8 result[4];
    store_big_endian(result, done ? u32{0} : kControlError);
    memory_.write(descriptor, result);
}

bool FwCfg::transfer(u32 control, u32 length, u64 address) {
    if (control & kControlSelect) {
        key_ = static_cast<u16>(control >> 16);
        position_ = 0;
    }
    if (!(control & (kControlRead | kControlSkip | kControlWrite))) return true;
    const std::vector<u8>& item = selected();
    const u32 left = static_cast<u32>(item.size()) - position_;
    const u32 available = std::min(length, left);
    if (control & kControlRead) {
        if (length - available > kMostPadding) {
            log_.once(LogChannel::fw_cfg, "transfer of %u bytes from item %X, which has %u left", length, key_, left);
            return false;
        }
        std::vector<u8> bytes(item.begin() + position_, item.begin() + position_ + available);
        bytes.resize(length);
        memory_.write(address, bytes);
    } else if (control & kControlWrite) {
        return false;  // no item is writable
    }
    position_ += available;
    return true;
}

void FwCfg::reset() {
    key_ = 0;
    position_ = 0;
    dma_address_ = 0;
}

void FwCfg::state(StateIo& io) {
    io.section(name(), 1, [&] {
        io.field("key", key_);
        io.field("position", position_);
        io.field("dma_address", dma_address_);
    });
    if (io.loading()) position_ = std::min(position_, static_cast<u32>(selected().size()));
}

}  // namespace lodge
