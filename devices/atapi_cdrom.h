// An ATAPI CD-ROM drive on an IDE cable: the PACKET command and what surrounds it. What packets mean is the SCSI unit's
// business (disks/scsi/cdrom.h); this is its owner, which moves its data over the cable and reads the disc for it.
// Source: ATA/ATAPI-6 (T13/1410D revision 3b), clauses 8.24 PACKET and 9.8, 9.9 its protocols.
#pragma once

#include <string>

#include "devices/ata_identify.h"
#include "devices/disk_queue.h"
#include "devices/ide_drive.h"
#include "devices/medium_slot.h"
#include "devices/platform.h"
#include "disks/scsi/cdrom.h"

namespace lodge {

class AtapiCdRom final : public IdeDrive, public MediumDrive {
  public:
    // `number` as AtaDisk's. All outlive the drive.
    AtapiCdRom(const Platform& platform, IdeCable& cable, MediumSlot& slot, unsigned number);

    void reset() override;
    void software_reset(bool held) override;
    void diagnose() override;
    bool is_packet_device() const override { return true; }
    // In a section named "cdrom" and the drive's number.
    void state(StateIo& io) override;

    void settle_medium() override { queue_.settle(); }
    void medium_changed() override;
    bool medium_locked() const override { return unit_.locked(); }
    void eject_requested() override { unit_.request_eject(); }

  protected:
    void execute(u8 command) override;
    void device_reset() override;
    void block_moved() override;

  private:
    // What the drive is doing while it is busy or moves data.
    enum class Activity : u8 { idle, packet, command, identifying };

    void packet();
    void packet_arrived();
    void identify_packet_device();
    void set_features();
    void refuse_as_packet_device();

    // The SCSI task that is under way.
    scsi::Task* task() { return unit_.find(task_); }
    void serve();
    void serve(scsi::Task& task);
    void send(std::span<const u8> data);
    void receive(size_t bytes);
    void offer_piece();
    void read_disc(const scsi::Task& task);
    void complete(const scsi::Task& task);
    void on_disk(DiskCompletion completion);

    void stop();
    void set_reason(u8 reason) { set_register(kIdeCount, reason); }
    void check_loaded(StateIo& io);
    bool loaded_transfer_sound();

    std::string name_;
    unsigned number_;
    MediumSlot& slot_;
    scsi::CdRom unit_;

    u8 dma_mode_ = 0;  // as SET FEATURES 03h selected it
    bool sleeping_ = false;
    Activity activity_ = Activity::idle;
    bool dma_ = false;  // of the packet under way
    u16 limit_ = 0;     // bytes in a block by PIO
    u64 task_ = 0;      // its number at the unit; 0 for none
    u32 piece_ = 0;     // bytes of the task's piece that the buffer holds, without the byte that makes it even
    u64 next_tag_ = 1;

    DiskQueue queue_;  // last: its completions use all of the above
};

}  // namespace lodge
