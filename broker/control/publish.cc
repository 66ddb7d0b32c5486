#include "broker/control/publish.h"

#include <deque>
#include <memory>
#include <utility>

#include "broker/control/publish_batch.h"
#include "broker/core/mutex.h"
#include "broker/rpc/status.h"

namespace broker::control {
namespace {

namespace v1 = ::socketbroker::v1;

// Requests of one stream that are read and not answered.
constexpr size_t kMaxUnderWay = 32;

// Reads while there is room, writes the answers in the order of the requests,
// and finishes when the caller asks no more and has all answers.
//
// gRPC may call back from within StartRead, StartWrite and Finish, and the last
// such call may be this object's end: they are made without the lock, and
// behind them nothing is touched.
class Stream final
    : public grpc::ServerBidiReactor<v1::PublishRequest, v1::PublishResponse> {
 public:
  Stream(Hub& hub, const Access& access, CallerPtr caller, RpcStats& stats)
      : hub_(hub),
        access_(access),
        stats_(stats),
        caller_(std::move(caller)),
        read_(std::make_unique<PublishBatch>()) {
    StartRead(&read_->request());
  }

  void OnReadDone(bool ok) override {
    if (!ok) return ReadNoMore(absl::OkStatus());
    const absl::Status valid = read_->Check();
    if (!valid.ok()) return ReadNoMore(valid);
    absl::StatusOr<CallerPtr> caller = access_.Renew(caller_);
    if (!caller.ok()) return ReadNoMore(caller.status());
    caller_ = *std::move(caller);
    // Still reading, as far as the rest is concerned: no other request is run
    // before this one has been.
    UnderWay& added = Add(std::move(read_));  // stays where it is
    added.batch->Run(hub_, caller_, [this, &added] { Done(added); });
    Steps steps;
    {
      MutexLock lock(mu_);
      reading_ = false;
      steps = NextSteps();
    }
    Take(steps);
  }

  void OnWriteDone(bool ok) override {
    std::unique_ptr<PublishBatch> written;  // destroyed without the lock
    Steps steps;
    {
      MutexLock lock(mu_);
      written = std::move(under_way_.front().batch);
      under_way_.pop_front();
      writing_ = false;
      if (!ok) reads_on_ = false;
      steps = NextSteps();
    }
    Take(steps);
  }

  void OnCancel() override {
    Steps steps;
    {
      MutexLock lock(mu_);
      reads_on_ = false;
      if (!finished_) end_ = absl::CancelledError("the caller is gone");
      steps = NextSteps();
    }
    Take(steps);
  }

  void OnDone() override { delete this; }

 private:
  struct UnderWay {
    std::unique_ptr<PublishBatch> batch;
    bool done = false;
  };
  struct Steps {
    bool read = false;
    const v1::PublishResponse* write = nullptr;
    bool finish = false;
  };

  UnderWay& Add(std::unique_ptr<PublishBatch> batch) {
    MutexLock lock(mu_);
    under_way_.push_back({std::move(batch)});
    return under_way_.back();
  }

  void Done(UnderWay& added) {
    Steps steps;
    {
      MutexLock lock(mu_);
      added.done = true;
      steps = NextSteps();
    }
    Take(steps);
  }

  void ReadNoMore(const absl::Status& why) {
    Steps steps;
    {
      MutexLock lock(mu_);
      reading_ = false;
      reads_on_ = false;
      if (!why.ok()) end_ = why;
      steps = NextSteps();
    }
    Take(steps);
  }

  Steps NextSteps() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    Steps steps;
    if (reads_on_ && !reading_ && under_way_.size() < kMaxUnderWay) {
      steps.read = reading_ = true;
      read_ = std::make_unique<PublishBatch>();
    }
    if (!writing_ && !under_way_.empty() && under_way_.front().done) {
      writing_ = true;
      steps.write = &under_way_.front().batch->response();
    }
    if (!reads_on_ && !reading_ && under_way_.empty() && !finished_) {
      steps.finish = finished_ = true;
    }
    return steps;
  }

  void Take(const Steps& steps) {
    if (steps.read) StartRead(&read_->request());
    if (steps.write != nullptr) StartWrite(steps.write);
    if (steps.finish) End();
  }

  void End() {
    const grpc::Status status = ToGrpcStatus(end_);
    stats_.Add("Publish", status.error_code());
    Finish(status);
  }

  Hub& hub_;
  const Access& access_;
  RpcStats& stats_;
  CallerPtr caller_;  // touched with the read
  // Read into: touched by whoever the read belongs to.
  std::unique_ptr<PublishBatch> read_;
  absl::Status end_;  // not written once finished_

  Mutex mu_;
  std::deque<UnderWay> under_way_ ABSL_GUARDED_BY(mu_);
  bool reads_on_ ABSL_GUARDED_BY(mu_) = true;
  bool reading_ ABSL_GUARDED_BY(mu_) = true;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace

grpc::ServerBidiReactor<v1::PublishRequest, v1::PublishResponse>* Publish(
    Hub& hub, const Access& access, CallerPtr caller, RpcStats& stats) {
  return new Stream(hub, access, std::move(caller), stats);
}

}  // namespace broker::control
