// A CD-ROM drive with its tray: the commands of MMC-6 that read, on top of those of all units. What is in it is one
// data track of blocks of 2048 bytes (an ISO image); larger ones than a CD holds are told as a DVD.
//
// The disc lies in the tray as its owner put it there (`change_disc`). The guest may open and close the tray by START
// STOP UNIT unless somebody has locked it; while it is open there is no medium.
#pragma once

#include "disks/scsi/unit.h"

namespace lodge::scsi {

class CdRom final : public Unit {
  public:
    static constexpr u32 kBlock = 2048;

    // The interface it is on, as GET CONFIGURATION tells it (MMC-6 table 96).
    enum class Interface : u8 { scsi = 1, atapi = 2 };

    // Blocks that are not whole, at the end of an image, are not there.
    CdRom(UnitIdentity identity, std::optional<Medium> disc, Interface interface, UnitOptions options);

    // The owner's hand: another disc, or none; the tray is closed afterwards, whoever has locked it.
    void change_disc(std::optional<Medium> disc);
    // A finger on the eject button of a drive that is locked: who asks for events is told.
    void request_eject();
    bool locked() const { return removal_prevented(); }
    bool tray_open() const { return tray_open_; }

    u64 blocks() const { return medium() ? medium()->bytes / kBlock : 0; }

  protected:
    std::span<const Operation> operations() const override;
    std::optional<Sense> not_ready() const override;
    std::vector<u16> standards() const override;
    u8 mode_medium_type() const override;
    void unit_reset(Reset kind) override;
    void unit_state(StateIo& io) override;

  private:
    // What GET EVENT STATUS NOTIFICATION tells once (MMC-6 table 282).
    enum class Event : u8 { none = 0, eject_request = 1, new_medium = 2, removal = 3 };
    // What READ CD wants of a sector.
    struct Selection {
        bool sync = false, header = false, data = false, check = false;
        u32 bytes() const { return (sync ? 12 : 0) + (header ? 4 : 0) + (data ? kBlock : 0) + (check ? 288 : 0); }
    };

    bool is_dvd() const;
    u16 profile() const;
    void add_mode_pages();
    void disc_changed(bool present);
    bool in_range(Task& task, u64 lba, u64 count);

    // cdrom.cpp: reading, the tray.
    void read(Task& task);
    void read_cd(Task& task);
    void read_cd_msf(Task& task);
    void begin_read(Task& task, u64 lba, u64 count, u32 bytes_each);
    std::optional<Selection> selection(Task& task);
    void read_chunk(Task& task);
    void read_on(Task& task);
    std::vector<u8> select(std::span<const u8> blocks, u64 lba, const Selection& wanted) const;
    void read_capacity(Task& task);
    void seek(Task& task);
    void start_stop(Task& task);
    void open_tray(Task& task);
    void done(Task& task) { finish(task); }

    // cdrom_information.cpp: what it says of the disc and of itself.
    void read_toc(Task& task);
    std::vector<u8> toc(bool msf, u8 first_track) const;
    std::vector<u8> full_toc() const;
    void read_sub_channel(Task& task);
    void read_header(Task& task);
    void get_configuration(Task& task);
    std::vector<u8> feature(u16 code) const;
    void get_event_status(Task& task);
    void read_disc_information(Task& task);
    void read_track_information(Task& task);
    void mechanism_status(Task& task);
    void read_disc_structure(Task& task);
    void get_performance(Task& task);

    Interface interface_;
    std::optional<Medium> disc_;  // in the tray, be it open or closed
    bool tray_open_ = false;
    Event event_ = Event::none;
    u64 position_ = 0;  // the block last read
};

}  // namespace lodge::scsi
