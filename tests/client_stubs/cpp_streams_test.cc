// The streams of the C++ client, Publish and WatchConnections, against a fake
// broker.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "socketbroker/client.h"
#include "socketbroker/error.h"
#include "tests/client_stubs/fake_broker.h"

namespace socketbroker {
namespace {

using ::testing::ElementsAre;

class CppStreamsTest : public ::testing::Test {
 protected:
  FakeBroker broker_;
  Client client_{broker_.address()};
};

// Answers each item with a failure that has its own number.
void FailItems(FakeBroker& broker) {
  broker.On<v1::PublishRequest, v1::PublishResponse>(
      [](const auto& request, auto* response) {
        for (const v1::PublishItem& item : request.items()) {
          const std::string& id = item.remove_connection().connection_id();
          if (id == "end") {
            return Refused(grpc::StatusCode::INVALID_ARGUMENT, "END");
          }
          const grpc::Status status =
              Refused(grpc::StatusCode::NOT_FOUND, "GONE " + id);
          response->add_results()->mutable_error()->ParseFromString(
              status.error_details());
        }
        return grpc::Status::OK;
      });
}

v1::PublishRequest Removals(std::vector<std::string> ids) {
  v1::PublishRequest request;
  for (const std::string& id : ids) {
    request.add_items()->mutable_remove_connection()->set_connection_id(id);
  }
  return request;
}

TEST_F(CppStreamsTest, PublishAnswersInOrder) {
  FailItems(broker_);
  const auto stream = client_.Publish();
  ASSERT_TRUE(stream->Write(Removals({"1", "2"})));
  ASSERT_TRUE(stream->Write(Removals({"3"})));
  ASSERT_TRUE(stream->WritesDone());
  std::vector<std::string> reasons;
  v1::PublishResponse response;
  while (stream->Read(&response)) {
    for (const v1::PublishResult& result : response.results()) {
      const grpc::Status status = ToStatus(result.error());
      EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
      reasons.push_back(GetErrorDetails(status).reason);
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_THAT(reasons, ElementsAre("GONE 1", "GONE 2", "GONE 3"));
}

TEST_F(CppStreamsTest, PublishTellsWhyItEnded) {
  FailItems(broker_);
  const auto stream = client_.Publish();
  stream->Write(Removals({"1"}));
  stream->Write(Removals({"end"}));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(GetErrorDetails(status).reason, "END");
}

TEST_F(CppStreamsTest, PublishEndsWhenItIsCancelledOrForgotten) {
  const auto stream = client_.Publish();
  stream->Cancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  const auto forgotten = client_.Publish();
}

TEST_F(CppStreamsTest, AttachSaysAndHears) {
  broker_.On<v1::AttachRequest, v1::AttachResponse>(
      [](const auto& request, auto* response) {
        if (request.has_refuse_handshake()) {
          return Refused(grpc::StatusCode::ABORTED, "EVENTS_LOST");
        }
        response->mutable_started()->set_epoch(7);
        return grpc::Status::OK;
      });
  const auto stream = client_.Attach();
  v1::AttachRequest request;
  request.mutable_start()->set_handshakes(true);
  ASSERT_TRUE(stream->Write(request));
  v1::AttachResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.started().epoch(), 7u);
  request.mutable_refuse_handshake()->set_offer_id(3);
  ASSERT_TRUE(stream->Write(request));
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(GetErrorDetails(stream->Finish()).reason, "EVENTS_LOST");
  EXPECT_EQ(broker_.Requests<v1::AttachRequest>().size(), 2u);
}

TEST_F(CppStreamsTest, RequestFilteredReadsOutcomes) {
  broker_.On<v1::RequestFilteredRequest, v1::RequestFilteredResponse>(
      [](const auto& request, v1::RequestFilteredResponse* response) {
        if (request.method().empty()) {
          return Refused(grpc::StatusCode::RESOURCE_EXHAUSTED,
                         "TOO_MANY_OUTCOMES");
        }
        response->set_connection_id("c1");
        return grpc::Status::OK;
      });
  v1::RequestFilteredRequest request;
  request.set_method("m");
  v1::RequestFilteredResponse response;
  const auto replies = client_.RequestFiltered(request);
  ASSERT_TRUE(replies->Read(&response));
  EXPECT_EQ(response.connection_id(), "c1");
  EXPECT_FALSE(replies->Read(&response));
  EXPECT_TRUE(replies->Finish().ok());
  const auto refused = client_.RequestFiltered({});
  EXPECT_FALSE(refused->Read(&response));
  EXPECT_EQ(GetErrorDetails(refused->Finish()).reason, "TOO_MANY_OUTCOMES");
}

TEST_F(CppStreamsTest, WatchReadsInOrderAndTellsWhyItEnded) {
  std::vector<v1::WatchConnectionsResponse> responses(2);
  responses[0].mutable_added()->set_connection_id("c1");
  responses[1].mutable_snapshot_end();
  broker_.OnWatch(responses);
  broker_.EndWatches(Refused(grpc::StatusCode::ABORTED, "WATCH_TOO_SLOW"));

  const auto watch = client_.WatchConnections({});
  v1::WatchConnectionsResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.added().connection_id(), "c1");
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_TRUE(response.has_snapshot_end());
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(GetErrorDetails(watch->Finish()).reason, "WATCH_TOO_SLOW");
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(broker_.deadline(), std::chrono::system_clock::time_point::max());
}

TEST_F(CppStreamsTest, WatchEndsWhenItIsCancelledOrForgotten) {
  broker_.OnWatch({v1::WatchConnectionsResponse()});
  const auto watch = client_.WatchConnections({});
  v1::WatchConnectionsResponse response;
  ASSERT_TRUE(watch->Read(&response));
  watch->Cancel();
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::CANCELLED);
  broker_.EndWatches(grpc::Status::OK);
  client_.WatchConnections({});
}

}  // namespace
}  // namespace socketbroker
