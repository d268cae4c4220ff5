// A federation router's loans between networks: zero-sum, until the lender's window ends.
#include <algorithm>

#include "engine/coordination/federation_router.hpp"

namespace mesh::coordination {
namespace {

constexpr std::uint64_t kPpm = 1'000'000;

}  // namespace

std::uint64_t FederationRouter::effective_quota(std::uint32_t network) const noexcept {
  if (network >= networks_.size()) return 0;
  const Network& one = networks_[network];
  return one.quota + one.borrowed - one.lent;
}

FederationRouter::Reply FederationRouter::borrow(const federation::Borrow& wanted,
                                                 std::int64_t now_ns) noexcept {
  if (wanted.lender >= networks_.size() || wanted.borrower >= networks_.size()) {
    return refuse(Errc::not_found);
  }
  if (wanted.lender == wanted.borrower || wanted.count == 0) return refuse(Errc::invalid_argument);
  const auto free = std::find_if(loans_.begin(), loans_.end(),
                                 [](const Loan& loan) { return loan.lender == kNone; });
  if (free == loans_.end()) return refuse(Errc::capacity);
  Network& lender = networks_[wanted.lender];
  Network& borrower = networks_[wanted.borrower];
  const std::uint64_t own = lender.quota - lender.lent;
  // Taken off one after the other: the forecast is the caller's, and may be any number.
  const std::uint64_t reserve = lender.quota * config_.reserve_ppm / kPpm;
  const std::uint64_t above_reserve = own > reserve ? own - reserve : 0;
  const std::uint64_t surplus =
      above_reserve > wanted.lender_forecast ? above_reserve - wanted.lender_forecast : 0;
  __extension__ using Wide = unsigned __int128;
  const auto offer = static_cast<std::uint64_t>(static_cast<Wide>(surplus) * config_.donate_ppm *
                                                borrower.trust_ppm / (kPpm * kPpm));
  Reply reply;
  reply.granted = std::min(wanted.count, offer);
  if (reply.granted == 0) {
    reply.refusal = Refusal::quota_exhausted;
    return reply;
  }
  lender.window.roll(now_ns);
  *free = {wanted.lender, wanted.borrower, reply.granted, lender.window.end_ns()};
  lender.lent += reply.granted;
  borrower.borrowed += reply.granted;
  ++counters_.loans;
  emit(Event::loan, Severity::info, now_ns, {wanted.lender, wanted.borrower, reply.granted});
  return reply;
}

void FederationRouter::return_loan(Loan& loan, std::uint64_t count, std::int64_t now_ns) noexcept {
  emit(Event::loan_returned, Severity::info, now_ns, {loan.lender, loan.borrower, count});
  networks_[loan.lender].lent -= count;
  networks_[loan.borrower].borrowed -= count;
  loan.count -= count;
  if (loan.count == 0) loan = Loan{};
}

FederationRouter::Reply FederationRouter::reclaim(std::uint32_t lender,
                                                  std::int64_t now_ns) noexcept {
  if (lender >= networks_.size()) return refuse(Errc::not_found);
  Reply reply;
  for (auto& loan : loans_) {
    if (loan.lender != lender) continue;
    Network& borrower = networks_[loan.borrower];
    borrower.window.roll(now_ns);
    const std::uint64_t effective = effective_quota(loan.borrower);
    const std::uint64_t spent = borrower.window.current();
    const std::uint64_t unspent = effective > spent ? effective - spent : 0;
    const std::uint64_t back = std::min(loan.count, unspent);
    reply.granted += back;
    if (back != 0) return_loan(loan, back, now_ns);
  }
  return reply;
}

}  // namespace mesh::coordination
