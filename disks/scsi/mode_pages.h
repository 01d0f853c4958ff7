// A unit's mode pages: what MODE SENSE shows and MODE SELECT changes. Source: SPC-4 6.11 to 6.14, 7.5.
//
// A page is its bytes from the page code on, its length field included; a mask of the same size says which bits an
// initiator may change. There are no saved values; default ones are those at power-on.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/base/state_io.h"
#include "disks/scsi/sense.h"

namespace lodge::scsi {

class ModePages {
  public:
    enum class Control : u8 { current = 0, changeable = 1, defaults = 2, saved = 3 };

    // Pages are added in ascending order of codes; `changeable` may be shorter than `bytes`: the rest is fixed.
    void add(std::vector<u8> bytes, std::vector<u8> changeable);
    void reset();

    // The bytes of one page, or of all with code 3Fh (subpage FFh: their subpages too). Nothing: there is no such page.
    std::optional<std::vector<u8>> sense(Control control, u8 code, u8 subpage) const;
    // Takes the pages of a parameter list, which begin `at` bytes in it, all of them or none. What is wrong, if
    // anything is. `changed` is set when a value has changed.
    std::optional<Sense> select(std::span<const u8> list, size_t at, bool& changed);

    // A byte of a page's current values; 0 when there is none. For the unit's own settings (WCE, SWP, D_SENSE).
    u8 byte(u8 code, size_t index) const;

    void state(StateIo& io);

  private:
    struct Page {
        std::vector<u8> defaults, changeable, current;
        u8 code() const { return defaults[0] & 0x3F; }
        bool has_subpage() const { return defaults[0] & 0x40; }
        u8 subpage() const { return has_subpage() ? defaults[1] : 0; }
        size_t header() const { return has_subpage() ? 4 : 2; }
    };
    const Page* find(u8 code, u8 subpage) const;

    std::vector<Page> pages_;
};

}  // namespace lodge::scsi
