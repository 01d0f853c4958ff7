#include "disks/scsi/mode_pages.h"

#include <algorithm>
#include <cassert>
#include <string>

namespace lodge::scsi {

namespace {

constexpr u8 kAllPages = 0x3F;
constexpr u8 kAllSubpages = 0xFF;
constexpr u8 kSubpageFormat = 0x40;

}  // namespace

void ModePages::add(std::vector<u8> bytes, std::vector<u8> changeable) {
    assert(bytes.size() > 2 && changeable.size() <= bytes.size());
    changeable.resize(bytes.size());
    pages_.push_back({bytes, std::move(changeable), bytes});
}

void ModePages::reset() {
    for (Page& page : pages_) page.current = page.defaults;
}

const ModePages::Page* ModePages::find(u8 code, u8 subpage) const {
    for (const Page& page : pages_)
        if (page.code() == code && page.subpage() == subpage) return &page;
    return nullptr;
}

std::optional<std::vector<u8>> ModePages::sense(Control control, u8 code, u8 subpage) const {
    std::vector<u8> result;
    for (const Page& page : pages_) {
        if (code != kAllPages && page.code() != code) continue;
        if (subpage != kAllSubpages && page.subpage() != subpage) continue;
        std::vector<u8> shown = control == Control::defaults ? page.defaults : page.current;
        if (control == Control::changeable) {
            shown = page.changeable;
            std::copy_n(page.defaults.begin(), page.header(), shown.begin());
        }
        result.insert(result.end(), shown.begin(), shown.end());
    }
    if (result.empty() && code != kAllPages) return std::nullopt;
    return result;
}

std::optional<Sense> ModePages::select(std::span<const u8> list, size_t at, bool& changed) {
    std::vector<Page> pages = pages_;
    bool any = false;
    while (at < list.size()) {
        const auto wrong = [&](size_t byte) { return Sense::invalid_parameter(static_cast<u16>(byte)); };
        const bool subpages = list[at] & kSubpageFormat;
        const size_t header = subpages ? 4 : 2;
        if (list.size() - at < header) return Sense::illegal(kParameterListLengthError);
        const u8 subpage = subpages ? list[at + 1] : 0;
        const Page* known = find(list[at] & 0x3F, subpage);
        if (!known) return wrong(at);
        const size_t length = header + (subpages ? load_big_endian<u16>(&list[at + 2]) : list[at + 1]);
        if (length != known->defaults.size()) return wrong(at + header - 1);
        if (list.size() - at < length) return Sense::illegal(kParameterListLengthError);
        Page& page = pages[static_cast<size_t>(known - pages_.data())];
        for (size_t index = header; index < length; ++index) {
            const u8 difference = page.current[index] ^ list[at + index];
            if (difference & ~page.changeable[index]) return wrong(at + index);
            if (difference) any = true;
            page.current[index] = list[at + index];
        }
        at += length;
    }
    pages_ = std::move(pages);
    changed = any;
    return std::nullopt;
}

u8 ModePages::byte(u8 code, size_t index) const {
    const Page* page = find(code, 0);
    return page && index < page->current.size() ? page->current[index] : 0;
}

void ModePages::state(StateIo& io) {
    for (Page& page : pages_) {
        const std::string name = "page" + std::to_string(page.code()) + "_" + std::to_string(page.subpage());
        io.bytes(name, page.current);
        if (!io.loading()) continue;
        for (size_t i = 0; i < page.current.size(); ++i)
            page.current[i] = replace_bits(page.defaults[i], page.changeable[i], page.current[i]);
    }
}

}  // namespace lodge::scsi
