#include "core/cpu/machine_check.h"

namespace lodge {

namespace {

constexpr u32 kP5Address = 0x000, kP5Type = 0x001, kGlobalCapabilities = 0x179, kGlobalStatus = 0x17A,
              kGlobalControl = 0x17B, kBankBase = 0x400, kRegistersPerBank = 4;
constexpr u64 kControlPresent = 1u << 8;  // IA32_MCG_CAP.MCG_CTL_P
constexpr u64 kStatusWritable = 0x7;      // IA32_MCG_STATUS: RIPV, EIPV, MCIP

bool is_bank_register(u32 index) {
    return index >= kBankBase && index < kBankBase + kRegistersPerBank * MachineCheck::kBanks;
}

bool is_bank_control(u32 index) {
    return is_bank_register(index) && index % kRegistersPerBank == 0;
}

}  // namespace

bool MachineCheck::holds(u32 index) {
    return index == kP5Address || index == kP5Type || (index >= kGlobalCapabilities && index <= kGlobalControl) ||
           is_bank_register(index);
}

void MachineCheck::state(StateIo& io) {
    io.field("machine_check_status", global_status_);
    io.field("machine_check_control", global_control_);
    io.field("machine_check_bank_control", bank_control_);
}

u64 MachineCheck::read(u32 index) const {
    if (is_bank_control(index)) return bank_control_[(index - kBankBase) / kRegistersPerBank];
    switch (index) {
        case kGlobalCapabilities:
            return kControlPresent | kBanks;
        case kGlobalStatus:
            return global_status_;
        case kGlobalControl:
            return global_control_;
        default:
            return 0;  // no error was ever met
    }
}

bool MachineCheck::write(u32 index, u64 value) {
    if (is_bank_control(index)) {
        bank_control_[(index - kBankBase) / kRegistersPerBank] = value;
        return true;
    }
    switch (index) {
        case kGlobalCapabilities:
            return false;
        case kGlobalStatus:
            if (value & ~kStatusWritable) return false;
            global_status_ = value;
            return true;
        case kGlobalControl:
            global_control_ = value;
            return true;
        default:
            return value == 0;  // status, address and miscellaneous registers can only be cleared
    }
}

}  // namespace lodge
