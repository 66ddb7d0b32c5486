#include "broker/core/ticker.h"

#include <utility>

namespace broker {

Ticker::Ticker(std::chrono::milliseconds interval, std::function<void()> work)
    : thread_([interval, work = std::move(work), stop = stop_.get_future()] {
        auto next = std::chrono::steady_clock::now() + interval;
        while (stop.wait_until(next) == std::future_status::timeout) {
          next = std::chrono::steady_clock::now() + interval;
          work();
        }
      }) {}

Ticker::~Ticker() {
  stop_.set_value();
  thread_.join();
}

}  // namespace broker
