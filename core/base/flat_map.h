// A hash map from u64 to pointers, for lookups that must be fast: one array, linear probing. It owns what it points to.
#pragma once

#include <memory>
#include <vector>

#include "core/base/types.h"

namespace lodge {

template <class T>
class FlatMap {
  public:
    // Null: not there.
    T* find(u64 key) const {
        for (size_t at = place(key);; at = (at + 1) & (slots_.size() - 1)) {
            const Slot& slot = slots_[at];
            if (slot.state == State::empty) return nullptr;
            if (slot.state == State::full && slot.key == key) return slot.value.get();
        }
    }
    // The key must not be there.
    T* insert(u64 key, std::unique_ptr<T> value) {
        if ((used_ + 1) * 2 > slots_.size()) grow();
        size_t at = place(key);
        while (slots_[at].state == State::full) at = (at + 1) & (slots_.size() - 1);
        if (slots_[at].state == State::empty) ++used_;
        ++size_;
        slots_[at] = {key, std::move(value), State::full};
        return slots_[at].value.get();
    }
    // Takes it out; null when it is not there.
    std::unique_ptr<T> take(u64 key) {
        for (size_t at = place(key);; at = (at + 1) & (slots_.size() - 1)) {
            Slot& slot = slots_[at];
            if (slot.state == State::empty) return nullptr;
            if (slot.state != State::full || slot.key != key) continue;
            slot.state = State::removed;
            --size_;
            return std::move(slot.value);
        }
    }
    // Takes all of them out: take_each(std::unique_ptr<T>).
    template <class Take>
    void take_all(Take take_each) {
        std::vector<Slot> old(kFewest);
        old.swap(slots_);
        size_ = used_ = 0;
        for (Slot& slot : old)
            if (slot.state == State::full) take_each(std::move(slot.value));
    }
    template <class Visit>
    void visit(Visit visit_each) const {
        for (const Slot& slot : slots_)
            if (slot.state == State::full) visit_each(*slot.value);
    }
    size_t size() const { return size_; }

  private:
    enum class State : u8 { empty, full, removed };
    struct Slot {
        u64 key = 0;
        std::unique_ptr<T> value;
        State state = State::empty;
    };
    static constexpr size_t kFewest = 1024;

    // Fibonacci hashing: the product's upper bits depend on all of the key's.
    size_t place(u64 key) const { return (key * 0x9E3779B97F4A7C15 >> 32) & (slots_.size() - 1); }
    void grow() {
        std::vector<Slot> old(size_ * 4 < kFewest ? kFewest : slots_.size() * (size_ * 4 > slots_.size() ? 2 : 1));
        old.swap(slots_);
        size_ = used_ = 0;
        for (Slot& slot : old)
            if (slot.state == State::full) insert(slot.key, std::move(slot.value));
    }

    std::vector<Slot> slots_ = std::vector<Slot>(kFewest);  // a power of two
    size_t size_ = 0;
    size_t used_ = 0;  // removed ones included
};

}  // namespace lodge
