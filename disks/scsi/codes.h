// The numbers of SCSI that every kind of unit shares.
// Sources: SAM-4 (status codes, task attributes), SPC-4 (sense keys, additional sense codes: 4.5 and annex D).
#pragma once

#include "core/base/types.h"

namespace lodge::scsi {

enum class Status : u8 {
    good = 0x00,
    check_condition = 0x02,
    condition_met = 0x04,
    busy = 0x08,
    reservation_conflict = 0x18,
    task_set_full = 0x28,
    task_aborted = 0x40,
};

enum class SenseKey : u8 {
    no_sense = 0x0,
    recovered_error = 0x1,
    not_ready = 0x2,
    medium_error = 0x3,
    hardware_error = 0x4,
    illegal_request = 0x5,
    unit_attention = 0x6,
    data_protect = 0x7,
    blank_check = 0x8,
    copy_aborted = 0xA,
    aborted_command = 0xB,
    volume_overflow = 0xD,
    miscompare = 0xE,
};

// SAM-4 clause 8.6. `untagged` is a parallel bus's: one at a time per nexus, else as simple.
enum class TaskAttribute : u8 { untagged, simple, ordered, head_of_queue };

// Byte 0 of INQUIRY data: the peripheral device type; `absent` has the qualifier of a unit that cannot be there.
enum class DeviceType : u8 { direct_access = 0x00, cdrom = 0x05, absent = 0x7F };

// Additional sense code and qualifier.
struct SenseCode {
    u8 code = 0;
    u8 qualifier = 0;
    bool operator==(const SenseCode&) const = default;
};

constexpr SenseCode kNoAdditionalSense{0x00, 0x00};
constexpr SenseCode kNotReadyCauseNotReportable{0x04, 0x00};
constexpr SenseCode kBecomingReady{0x04, 0x01};
constexpr SenseCode kInitializingCommandRequired{0x04, 0x02};
constexpr SenseCode kWriteError{0x0C, 0x00};
constexpr SenseCode kUnrecoveredReadError{0x11, 0x00};
constexpr SenseCode kParameterListLengthError{0x1A, 0x00};
constexpr SenseCode kSynchronousTransferError{0x1B, 0x00};
constexpr SenseCode kMiscompareDuringVerify{0x1D, 0x00};
constexpr SenseCode kInvalidOperationCode{0x20, 0x00};
constexpr SenseCode kLbaOutOfRange{0x21, 0x00};
constexpr SenseCode kInvalidFieldInCdb{0x24, 0x00};
constexpr SenseCode kLogicalUnitNotSupported{0x25, 0x00};
constexpr SenseCode kInvalidFieldInParameterList{0x26, 0x00};
constexpr SenseCode kInvalidReleaseOfReservation{0x26, 0x04};
constexpr SenseCode kWriteProtected{0x27, 0x00};
constexpr SenseCode kSoftwareWriteProtected{0x27, 0x02};
constexpr SenseCode kSpaceAllocationFailed{0x27, 0x07};
constexpr SenseCode kMediumMayHaveChanged{0x28, 0x00};
constexpr SenseCode kPowerOn{0x29, 0x01};
constexpr SenseCode kBusResetOccurred{0x29, 0x02};
constexpr SenseCode kDeviceResetOccurred{0x29, 0x03};
constexpr SenseCode kNexusLossOccurred{0x29, 0x07};
constexpr SenseCode kModeParametersChanged{0x2A, 0x01};
constexpr SenseCode kReservationsPreempted{0x2A, 0x03};
constexpr SenseCode kReservationsReleased{0x2A, 0x04};
constexpr SenseCode kRegistrationsPreempted{0x2A, 0x05};
constexpr SenseCode kCapacityDataHasChanged{0x2A, 0x09};
constexpr SenseCode kCommandSequenceError{0x2C, 0x00};
constexpr SenseCode kTasksClearedByAnotherInitiator{0x2F, 0x00};
constexpr SenseCode kSavingParametersNotSupported{0x39, 0x00};
constexpr SenseCode kMediumNotPresent{0x3A, 0x00};
constexpr SenseCode kMediumNotPresentTrayClosed{0x3A, 0x01};
constexpr SenseCode kMediumNotPresentTrayOpen{0x3A, 0x02};
constexpr SenseCode kReportedLunsDataHasChanged{0x3F, 0x0E};
constexpr SenseCode kInternalTargetFailure{0x44, 0x00};
constexpr SenseCode kParityError{0x47, 0x00};
constexpr SenseCode kInitiatorDetectedError{0x48, 0x00};
constexpr SenseCode kOverlappedCommands{0x4E, 0x00};
constexpr SenseCode kMediumRemovalPrevented{0x53, 0x02};
constexpr SenseCode kInsufficientRegistrationResources{0x55, 0x04};

}  // namespace lodge::scsi
