// Rules, roles and callers: everything that needs no call.

#include "broker/rpc/access.h"

#include <string>

#include "absl/strings/match.h"
#include "broker/core/status.h"
#include "broker/filter/compiler.h"
#include "broker/filter/text_parser.h"
#include "broker/rpc/roles.h"
#include "gtest/gtest.h"
#include "socketbroker/v1/socket_broker.pb.h"
#include "tests/fakes/fake_clock.h"

namespace broker {
namespace {

const google::protobuf::ServiceDescriptor& Service() {
  return *socketbroker::v1::PublishRequest::descriptor()
              ->file()
              ->FindServiceByName("SocketBroker");
}

// Also of those that no test calls yet.
TEST(RolesTest, EveryMethodHasOneRuleAndEveryRuleAMethod) {
  for (int i = 0; i < Service().method_count(); ++i) {
    const std::string& name = Service().method(i)->name();
    int rules = 0;
    for (const Rule& rule : kRules) rules += rule.method == name;
    EXPECT_EQ(rules, 1) << name;
  }
  for (const Rule& rule : kRules) {
    EXPECT_NE(Service().FindMethodByName(std::string(rule.method)), nullptr)
        << rule.method;
  }
}

TEST(RolesTest, EveryRoleIsDeniedButThoseOfTheRule) {
  for (const Rule& rule : kRules) {
    EXPECT_FALSE(Roles().Allow(rule.roles)) << rule.method;
    for (const Role role : kAllRoles) {
      EXPECT_EQ(Roles{role}.Allow(rule.roles),
                role == Role::kAdmin || rule.roles.Has(role))
          << rule.method;
    }
  }
}

TEST(RolesTest, NobodyChangesAnythingByLooking) {
  for (const Rule& rule : kRules) {
    const bool reads = Roles{Role::kRead}.Allow(rule.roles);
    if (reads) EXPECT_EQ(rule.effect, Effect::kLooks) << rule.method;
  }
}

class CallersTest : public ::testing::Test {
 protected:
  static CallerPtr Make(const std::string& name, Roles roles,
                        ReachPtr reach = nullptr) {
    auto caller = std::make_shared<Caller>();
    caller->name = name;
    caller->roles = roles;
    caller->reach = std::move(reach);
    caller->credential = KeyCredential(name);
    return caller;
  }
  static CallersPtr With(std::vector<CallerPtr> callers) {
    return std::make_shared<const Callers>(std::move(callers));
  }

  testing::FakeClock clock_;
};

TEST_F(CallersTest, AKeyIsNoCertificate) {
  const CallersPtr callers = With({Make("x", {Role::kRead})});
  EXPECT_NE(callers->Find(KeyCredential("x")), nullptr);
  EXPECT_EQ(callers->Find(CertificateCredential("x")), nullptr);
  EXPECT_EQ(callers->Find(""), nullptr);
}

TEST_F(CallersTest, DenialsNameTheMethodAndTheRoles) {
  const absl::Status denied =
      Make("x", {Role::kRead})->CheckRole(RuleFor("ListRevocations"));
  EXPECT_TRUE(denied.ok());
  const absl::Status lift = Make("x", {Role::kRead, Role::kSend})
                                ->CheckRole(RuleFor("AddConnection"));
  EXPECT_EQ(lift.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(absl::StrContains(lift.message(), "AddConnection"));
  EXPECT_TRUE(absl::StrContains(lift.message(), "send, read"));
  EXPECT_TRUE(absl::StrContains(lift.message(), "one of bind"));
  EXPECT_EQ(GetErrorReason(lift).reason, "ROLE_MISSING");
}

TEST_F(CallersTest, ReachIsNamespacesAndFilter) {
  auto reach = std::make_shared<Reach>();
  reach->namespaces = {"blue"};
  reach->filter = *CompileFilter(*ParseFilter("labels.tenant = acme"));
  const CallerPtr caller = Make("x", {Role::kRead}, reach);
  ConnectionInfo c;
  c.ns = "blue";
  IdentityFields fields;
  fields.account_id = "a";
  c.identity = Identity::Make(fields);
  EXPECT_EQ(caller->CheckReach(c).code(), absl::StatusCode::kPermissionDenied);
  fields.labels = {{"tenant", "acme"}};
  c.identity = Identity::Make(fields);
  EXPECT_TRUE(caller->CheckReach(c).ok());
  EXPECT_TRUE(AnonymousCaller()->CheckReach(c).ok());
  c.ns = "green";
  EXPECT_FALSE(caller->CheckReach(c).ok());
  EXPECT_TRUE(caller->CheckNamespace("namespace", "blue").ok());
  EXPECT_EQ(GetErrorReason(caller->CheckNamespace("namespace", "green")).reason,
            "NAMESPACE_OUT_OF_REACH");

  RevocationTarget target;
  EXPECT_FALSE(reach->Has(target));
  target.namespaces = {"blue"};
  EXPECT_FALSE(reach->Has(target));
  target.within = reach->filter;
  EXPECT_TRUE(reach->Has(target));
  target.namespaces = {"blue", "green"};
  EXPECT_FALSE(reach->Has(target));
}

TEST_F(CallersTest, AStreamsCallerIsRenewed) {
  const CallerPtr before = Make("x", {Role::kRead});
  Access access(With({before}), false, clock_);
  EXPECT_EQ(*access.Renew(before), before);
  const CallerPtr after = Make("x", {Role::kSend});
  access.SetCallers(With({after}));
  EXPECT_EQ(*access.Renew(before), after);
  access.SetCallers(With({Make("y", {Role::kSend})}));
  EXPECT_EQ(access.Renew(before).status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST_F(CallersTest, AStreamEndsWhenItsCallerExpires) {
  auto caller = std::make_shared<Caller>(*Make("x", {Role::kRead}));
  caller->expires_at = clock_.Now() + absl::Seconds(10);
  const Access access(With({caller}), false, clock_);
  clock_.Advance(absl::Seconds(9));
  EXPECT_TRUE(access.Renew(caller).ok());
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(GetErrorReason(access.Renew(caller).status()).reason,
            "CALLER_EXPIRED");
}

TEST_F(CallersTest, WhoNeedNotProveAnythingMustOnceThereAreCallers) {
  Access access(nullptr, false, clock_);
  EXPECT_TRUE(access.Renew(AnonymousCaller()).ok());
  access.SetCallers(With({Make("x", {Role::kRead})}));
  EXPECT_EQ(access.Renew(AnonymousCaller()).status().code(),
            absl::StatusCode::kUnauthenticated);
}

}  // namespace
}  // namespace broker
