// Memory that a thread keeps.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace {

// Aligned to the cache's lines; what was in it is lost when it grows.
class Scratch {
  public:
    float* get(int64_t floats) {
        if (floats > size) {
            memory.reset(static_cast<float*>(std::aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64)));
            if (!memory) std::abort();
            size = floats;
        }
        return memory.get();
    }

  private:
    struct Free {
        void operator()(float* p) const { std::free(p); }
    };
    std::unique_ptr<float[], Free> memory;
    int64_t size = 0;
};

}  // namespace
