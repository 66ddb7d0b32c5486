// Ticker: a thread that does the same thing again and again.
//
// Made and destroyed on one thread.

#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <thread>

namespace broker {

class Ticker {
 public:
  // The first time one interval from now, then whenever one has passed since it
  // began last.
  Ticker(std::chrono::milliseconds interval, std::function<void()> work);
  // Waits for the end of what it is doing.
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

 private:
  std::promise<void> stop_;
  std::thread thread_;
};

}  // namespace broker
