// What a Pc knows beside its registers: the PCI tree, where interrupts go.
#pragma once

#include <string>

#include "debug/monitor.h"
#include "devices/pc.h"

namespace lodge::debug {

// One line for each function, with its BARs and its interrupt.
std::string pci_text(Pc& pc);
// The 8259 pair, the I/O APIC's entries, the local APIC, the PIIX3's PIRQ routers.
std::string interrupts_text(Pc& pc);

// "info pci", "info interrupts", "powerdown". The board outlives the monitor.
void add_board_topics(Monitor& monitor, Pc& pc);

}  // namespace lodge::debug
