// The registers of the LSI53C895A, in the order of its technical manual (chapter 4), by offset. Wider ones are little
// endian; scratch registers C to R follow SCRATCHB without gaps.
#pragma once

#include "devices/claims.h"

namespace lodge::lsi {

constexpr u8 kScntl0 = 0x00, kScntl1 = 0x01, kScntl2 = 0x02, kScntl3 = 0x03;
constexpr u8 kScid = 0x04, kSxfer = 0x05, kSdid = 0x06, kGpreg = 0x07;
constexpr u8 kSfbr = 0x08, kSocl = 0x09, kSsid = 0x0A, kSbcl = 0x0B;
constexpr u8 kDstat = 0x0C, kSstat0 = 0x0D, kSstat1 = 0x0E, kSstat2 = 0x0F;
constexpr u8 kDsa = 0x10, kIstat0 = 0x14, kIstat1 = 0x15, kMbox0 = 0x16, kMbox1 = 0x17;
constexpr u8 kCtest0 = 0x18, kCtest1 = 0x19, kCtest2 = 0x1A, kCtest3 = 0x1B, kTemp = 0x1C;
constexpr u8 kDfifo = 0x20, kCtest4 = 0x21, kCtest5 = 0x22, kCtest6 = 0x23;
constexpr u8 kDbc = 0x24, kDcmd = 0x27, kDnad = 0x28, kDsp = 0x2C, kDsps = 0x30, kScratchA = 0x34;
constexpr u8 kDmode = 0x38, kDien = 0x39, kSbr = 0x3A, kDcntl = 0x3B, kAdder = 0x3C;
constexpr u8 kSien0 = 0x40, kSien1 = 0x41, kSist0 = 0x42, kSist1 = 0x43;
constexpr u8 kSlpar = 0x44, kSwide = 0x45, kMacntl = 0x46, kGpcntl = 0x47;
constexpr u8 kStime0 = 0x48, kStime1 = 0x49, kRespid0 = 0x4A, kRespid1 = 0x4B;
constexpr u8 kStest0 = 0x4C, kStest1 = 0x4D, kStest2 = 0x4E, kStest3 = 0x4F;
constexpr u8 kSidl = 0x50, kStest4 = 0x52, kSodl = 0x54, kCcntl0 = 0x56, kCcntl1 = 0x57, kSbdl = 0x58;
constexpr u8 kScratchB = 0x5C, kScratchC = 0x60;
constexpr u8 kMmrs = 0xA0, kMmws = 0xA4, kSfs = 0xA8, kDrs = 0xAC, kSbms = 0xB0, kDbms = 0xB4, kDnad64 = 0xB8;
constexpr u8 kPmjad1 = 0xC0, kPmjad2 = 0xC4, kRbc = 0xC8, kUa = 0xCC, kEsa = 0xD0, kIa = 0xD4, kSbc = 0xD8,
             kCsbc = 0xDC;

// clang-format off
constexpr RegisterInfo kRegisters[] = {
    {kScntl0, 8, "SCNTL0"},   {kScntl1, 8, "SCNTL1"},   {kScntl2, 8, "SCNTL2"},   {kScntl3, 8, "SCNTL3"},
    {kScid, 8, "SCID"},       {kSxfer, 8, "SXFER"},     {kSdid, 8, "SDID"},       {kGpreg, 8, "GPREG"},
    {kSfbr, 8, "SFBR"},       {kSocl, 8, "SOCL"},       {kSsid, 8, "SSID"},       {kSbcl, 8, "SBCL"},
    {kDstat, 8, "DSTAT", RegisterRead::changes},     {kSstat0, 8, "SSTAT0"},   {kSstat1, 8, "SSTAT1"},   {kSstat2, 8, "SSTAT2"},
    {kDsa, 32, "DSA"},        {kIstat0, 8, "ISTAT0"},   {kIstat1, 8, "ISTAT1"},   {kMbox0, 8, "MBOX0"},
    {kMbox1, 8, "MBOX1"},     {kCtest0, 8, "CTEST0"},   {kCtest1, 8, "CTEST1"},   {kCtest2, 8, "CTEST2", RegisterRead::changes},
    {kCtest3, 8, "CTEST3"},   {kTemp, 32, "TEMP"},      {kDfifo, 8, "DFIFO"},     {kCtest4, 8, "CTEST4"},
    {kCtest5, 8, "CTEST5"},   {kCtest6, 8, "CTEST6"},   {kDbc, 24, "DBC"},        {kDcmd, 8, "DCMD"},
    {kDnad, 32, "DNAD"},      {kDsp, 32, "DSP"},        {kDsps, 32, "DSPS"},      {kScratchA, 32, "SCRATCHA"},
    {kDmode, 8, "DMODE"},     {kDien, 8, "DIEN"},       {kSbr, 8, "SBR"},         {kDcntl, 8, "DCNTL"},
    {kAdder, 32, "ADDER"},    {kSien0, 8, "SIEN0"},     {kSien1, 8, "SIEN1"},     {kSist0, 8, "SIST0", RegisterRead::changes},
    {kSist1, 8, "SIST1", RegisterRead::changes},     {kSlpar, 8, "SLPAR"},     {kSwide, 8, "SWIDE"},     {kMacntl, 8, "MACNTL"},
    {kGpcntl, 8, "GPCNTL"},   {kStime0, 8, "STIME0"},   {kStime1, 8, "STIME1"},   {kRespid0, 8, "RESPID0"},
    {kRespid1, 8, "RESPID1"}, {kStest0, 8, "STEST0"},   {kStest1, 8, "STEST1"},   {kStest2, 8, "STEST2"},
    {kStest3, 8, "STEST3"},   {kSidl, 16, "SIDL"},      {kStest4, 8, "STEST4"},   {kSodl, 16, "SODL"},
    {kCcntl0, 8, "CCNTL0"},   {kCcntl1, 8, "CCNTL1"},   {kSbdl, 16, "SBDL"},      {kScratchB, 32, "SCRATCHB"},
    {0x60, 32, "SCRATCHC"},   {0x64, 32, "SCRATCHD"},   {0x68, 32, "SCRATCHE"},   {0x6C, 32, "SCRATCHF"},
    {0x70, 32, "SCRATCHG"},   {0x74, 32, "SCRATCHH"},   {0x78, 32, "SCRATCHI"},   {0x7C, 32, "SCRATCHJ"},
    {0x80, 32, "SCRATCHK"},   {0x84, 32, "SCRATCHL"},   {0x88, 32, "SCRATCHM"},   {0x8C, 32, "SCRATCHN"},
    {0x90, 32, "SCRATCHO"},   {0x94, 32, "SCRATCHP"},   {0x98, 32, "SCRATCHQ"},   {0x9C, 32, "SCRATCHR"},
    {kMmrs, 32, "MMRS"},      {kMmws, 32, "MMWS"},      {kSfs, 32, "SFS"},        {kDrs, 32, "DRS"},
    {kSbms, 32, "SBMS"},      {kDbms, 32, "DBMS"},      {kDnad64, 32, "DNAD64"},  {kPmjad1, 32, "PMJAD1"},
    {kPmjad2, 32, "PMJAD2"},  {kRbc, 32, "RBC"},        {kUa, 32, "UA"},          {kEsa, 32, "ESA"},
    {kIa, 32, "IA"},          {kSbc, 24, "SBC"},        {kCsbc, 32, "CSBC"},
};
// clang-format on

// SCNTL1
constexpr u8 kConnected = 0x10, kAssertReset = 0x08;
// SCNTL2
constexpr u8 kDisconnectUnexpected = 0x80;  // SDU
constexpr u8 kWideScsiReceive = 0x01;       // WSR
// SOCL and SBCL; bits 2:0 are the phase
constexpr u8 kRequest = 0x80, kAcknowledge = 0x40, kBusy = 0x20, kAttention = 0x08;
// SSID
constexpr u8 kSsidValid = 0x80;
// DSTAT and DIEN
constexpr u8 kFifoEmpty = 0x80, kBusFault = 0x20, kAborted = 0x10, kSingleStep = 0x08, kScriptInterrupt = 0x04,
             kIllegalInstruction = 0x01;
// SSTAT0
constexpr u8 kResetLine = 0x02;
// ISTAT0
constexpr u8 kAbort = 0x80, kSoftReset = 0x40, kSignal = 0x20, kSemaphore = 0x10, kIstatConnected = 0x08,
             kInterruptOnTheFly = 0x04, kScsiInterrupt = 0x02, kDmaInterrupt = 0x01;
// ISTAT1
constexpr u8 kScriptsRunning = 0x02;
// CTEST2
constexpr u8 kCtestSignal = 0x40, kPciConfiguration = 0x08;
// CTEST3
constexpr u8 kFlushFifo = 0x08, kClearFifo = 0x04;
// DMODE
constexpr u8 kManualStart = 0x01;
// DCNTL
constexpr u8 kSingleStepMode = 0x10, kStart = 0x04, kIrqDisable = 0x02;
// SIST0 and SIEN0
constexpr u8 kPhaseMismatch = 0x80, kFunctionComplete = 0x40, kSelected = 0x20, kReselected = 0x10, kGrossError = 0x08,
             kUnexpectedDisconnect = 0x04, kScsiReset = 0x02, kParity = 0x01;
// SIST1 and SIEN1
constexpr u8 kBusModeChange = 0x10, kSelectionTimeout = 0x04, kGeneralTimer = 0x02, kHandshakeTimer = 0x01;
// STEST1
constexpr u8 kQuadruplerEnable = 0x08;
// STEST4
constexpr u8 kLowVoltageDifferential = 0xC0, kFrequencyLock = 0x20;
// CCNTL0
constexpr u8 kPhaseMismatchJump = 0x80, kJumpControl = 0x40, kJumpOnAnyPhase = 0x20;
// CCNTL1
constexpr u8 kTableIndexMode = 0x04, kWideTableIndirect = 0x02, kWideDirect = 0x01;

}  // namespace lodge::lsi
