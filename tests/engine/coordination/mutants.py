#!/usr/bin/env python3
"""Each safety check of the coordination services switched off: does a test fail then?

mutants.py PROGRAM FOLDER          every mutant of the sources in it against the test that is named here for it
mutants.py PROGRAM FOLDER --find   every mutant against all tests of its service: which fail

A mutant that is in the sources and not in this list, or the other way round, is a failure, as is one that its test lets
pass, and a test that fails with nothing switched off.
"""
import concurrent.futures
import os
import re
import subprocess
import sys

SUITES = {  # --find: where the tests of a service are
    "arbiter": "ContentionArbiter.*:ArbiterRules.*",
    "auction": "TaskAuction.*:AuctionCore.*:AuctionRules.*",
    "lock": "Lock*",
    "pool": "ResourcePool.*:PoolRules.*",
    "redlock": "Redlock.*",
    "token": "Token*",
    "vote": "LockQuorum.*",
    "breaker": "CircuitBreaker*:HeldPermit*:ServiceEvents.*",
    "pressure": "Backpressure*",
    "throttle": "Throttle*",
    "federation": "Federation*",
    "outbox": "Outbox*",
    "causal": "VectorClock*:Causal*",
    "reputation": "Reputation*",
    "health": "CapabilityHealth*",
    "discovery": "ServiceDiscovery*",
    "queue": "ExactlyOnce*:Queue*",
}

TESTS = {
    "arbiter.aging": "ArbiterRules.WaitingHalfAMinuteIsWorthOnePriority",
    "arbiter.floors": "ArbiterRules.AStarvedAgentGetsTwoToOneUntilItIsServedOnce",
    "arbiter.margin": "ArbiterRules.PreemptsFromTwoPrioritiesAboveOnAndNotFromOne",
    "arbiter.queue": "ArbiterRules.AStarvedAgentGetsTwoToOneUntilItIsServedOnce",
    "arbiter.served_once": "ArbiterRules.AStarvedAgentGetsTwoToOneUntilItIsServedOnce",
    "arbiter.severe": "ArbiterRules.WhoIsPassedByForLongMakesItSevereHoweverEvenTheOthersAre",
    "arbiter.starved_counts_double": "ArbiterRules.AStarvedAgentGetsTwoToOneUntilItIsServedOnce",
    "arbiter.suffices": "ArbiterRules.PreemptsFromTwoPrioritiesAboveOnAndNotFromOne",
    "auction.extensions": "AuctionRules.ExtendsNoMoreOftenThanItsLimit",
    "auction.one_result": "TaskAuction.EndsEachAuctionAndEachDepositOnce",
    "auction.open_reserve": "AuctionRules.AnOpenFormatSellsNothingBeyondItsReserve",
    "auction.reputation": "AuctionRules.ReputationCountsInTheScoreByItsWeight",
    "auction.reveal_deposit": "AuctionRules.ARevealNeedsTheDepositThatItsPriceTakes",
    "auction.sealed_reserve": "TaskAuction.TheTruthIsNeverWorseThanAnyOtherBid",
    "auction.second_price": "AuctionRules.WhoBidsAloneIsPaidTheReserveOrItsOwnPrice",
    "breaker.epoch": "CircuitBreaker.IgnoresUnknownAndUsedPermits",
    "breaker.lost_probe": "CircuitBreaker.LetsOutAnotherProbeWhenTheFirstIsNeverAnswered",
    "breaker.open_until": "CircuitBreaker.PlaysTheGoldenTraces",
    "breaker.probe_limit": "CircuitBreaker.DoesNotAdmitMoreProbesThanItsLimitAtOnce",
    "breaker.used_permit": "CircuitBreaker.IgnoresUnknownAndUsedPermits",
    "causal.duplicate": "VectorClockCausality.DoesNotDeliverAnEventTwice",
    "causal.order": "VectorClockCausality.DeliversInTheGoldenOrder",
    "causal.paradox": "CausalEvents.TellOfAParadoxAndOfAMemberThatIsGone",
    "causal.reader": "VectorClockCausality.TruncatesOnlyWhatAllHaveAndEveryReaderHasRead",
    "causal.reserved": "VectorClockCausality.GivesNoDotTwiceAlsoInANewLife",
    "causal.stable": "VectorClockCausality.TruncatesOnlyWhatAllHaveAndEveryReaderHasRead",
    "causal.ties": "CausalTies.TheLowestSumThenTheLowestOriginComesFirst",
    "discovery.draining": "ServiceDiscovery.NeverReturnsWhatIsDrainingFailedOrNotReady",
    "discovery.incarnation": "ServiceDiscovery.TakesARegistrationAfterTheEndWithAHigherIncarnation",
    "discovery.lease": "ServiceDiscovery.TakesARegistrationAfterTheEndWithAHigherIncarnation",
    "discovery.order": "ServiceDiscoverySync.NeverResurrectsWhatLiesBelowATombstone",
    "discovery.owner": "ServiceDiscovery.RefusesBadInputAndChangesNothing",
    "discovery.refute": "ServiceDiscoverySync.RefutesAFalseDeathWithAHigherIncarnation",
    "federation.aging_cap": "Federation.LetsWhoWaitsAgeButNeverIntoCritical",
    "federation.bucket": "FederationLoans.LendingToAndFroMakesNoRequests",
    "federation.clean": "FederationBudget.DoublesOnlyAfterAWindowInWhichNobodySaid429",
    "federation.coalesce_max": "FederationFollowing.ALeaderHasAtMostCoalesceMaxFollowers",
    "federation.loan_bucket": "FederationLoans.LendingToAndFroMakesNoRequests",
    "federation.loan_end": "Federation.LendsFromASurplusByTrust",
    "federation.reserve": "Federation.LendsFromASurplusByTrust",
    "federation.share": "Federation.GivesNobodyMoreThanItsShareWhileOthersWait",
    "federation.shed": "Federation.ShedsTheLowFirst",
    "federation.trust": "FederationWaiting.RefusesWhomItTrustsTooLittle",
    "federation.unfair": "FederationWaiting.RefusesWhoHasHadItsShareWhileAnotherWaits",
    "federation.unspent": "FederationLoans.ABusyLenderGetsBackOnlyWhatIsUnspent",
    "federation.window": "Federation.KeepsTheProvidersWindow",
    "health.both_windows": "CapabilityHealth.PagesWhenBothWindowsBurnAndStopsWhenTheShortOneDoesNot",
    "health.cooldown": "CapabilityHealth.RemediationCoolsDownDoublingAndEndsInOneEscalationAnHour",
    "health.dependency": "CapabilityHealth.WhenMostDegradeTogetherTheDependencyIsBlamedAndNotTheProviders",
    "health.duplicate": "CapabilityHealth.IgnoresProbesThatComeTwiceOrTooLate",
    "health.excuse": "CapabilityHealth.SaysNothingWhileItWasLateItself",
    "health.hourly": "CapabilityHealth.RemediationCoolsDownDoublingAndEndsInOneEscalationAnHour",
    "health.late": "CapabilityHealth.IgnoresProbesThatComeTwiceOrTooLate",
    "health.noise": "CapabilityHealth.PredictsByALineThatFitsAndByNoOther",
    "health.panic": "CapabilityHealth.PanicRoutesToAllWhenMostAreUnhealthyAndFullOnesAreNeverTheBest",
    "health.readiness": "CapabilityHealth.WhoIsNotReadyIsPassedOverAtOnceAndLosesNothing",
    "health.share_move": "CapabilityHealth.NewProvidersGetTheirShareByAndBy",
    "lock.victim_locks": "LockVictims.OfOneAgeAreTheLeastUrgentThenWhoHoldsLeastThenTheHighestNumber",
    "lock.victim_priority": "LockVictims.OfOneAgeAreTheLeastUrgentThenWhoHoldsLeastThenTheHighestNumber",
    "outbox.attempts": "Outbox.BuriesAfterTheLastAttemptAndNotAfterTheNext",
    "outbox.cursor": "Outbox.CompactsNothingThatACursorHasNotRead",
    "outbox.dead_full": "Outbox.StopsTheKeyRatherThanDropWhenTheDeadHaveNoPlace",
    "outbox.fence": "Outbox.LeavesALateReportOfAWorkerThatIsGoneStale",
    "outbox.head_of_line": "Outbox.DispatchesInTheGoldenOrder",
    "outbox.inbox": "Outbox.CommitsAnEffectOnceWithTheEventThatItConsumes",
    "outbox.silent_worker": "Outbox.TakesAWorkerThatIsSilentForDead",
    "outbox.version": "Outbox.KnowsNothingOfAnEventWhoseCommitItRefused",
    "pool.agent_max": "PoolRules.AReservationGrowsWhereThereIsRoomAndShrinksAlways",
    "pool.queue_max": "PoolRules.NobodyWaitsInAQueueThatIsFull",
    "pool.renewed": "PoolRules.ARenewedLeaseEndsLater",
    "pressure.bucket": "Backpressure.ShedsByPriorityAndRationsTheRest",
    "pressure.credit_priority": "BackpressureCredit.IsForThoseWhomItWouldNotShed",
    "pressure.downstream": "Backpressure.ShedsByThePressureFurtherOnAndPassesItOn",
    "pressure.hard_limit": "BackpressureBound.NeverLetsItsQueuePassTheHardLimit",
    "pressure.low_mark": "Backpressure.TurnsOnAtTheHighMarkAndOffAtTheLowOne",
    "pressure.shed": "Backpressure.ShedsByPriorityAndRationsTheRest",
    "pressure.void_credits": "Backpressure.GrantsCreditWhileThrottlingAndVoidsItAfter",
    "queue.conflict": "ExactlyOnceQueue.RefusesBadInputAndChangesNothing",
    "queue.epoch": "ExactlyOnceQueue.TakesAProducersSequenceOnceHoweverOld",
    "queue.fence": "ExactlyOnceQueue.PlaysTheGoldenTraces",
    "redlock.late": "Redlock.WaitsAFiftiethOfItsLeaseForRegionsThatAreSilent",
    "redlock.majority": "Redlock.ReleasesEverywhereWhatItCannotHave",
    "redlock.owner": "Redlock.ARegionWritesNoTokenForAnyoneButItsOwner",
    "redlock.token": "Redlock.ARegionWritesNoTokenThatIsNotHigherThanItsOwn",
    "redlock.validity": "Redlock.WhoHoldsItGivesItUpBeforeItsLeaseMayBeOver",
    "reputation.eject_share": "ReputationRouter.EjectsWhoLiesFarBelowItsPeersButNeverMoreThanATenth",
    "reputation.evidence": "ReputationRouter.QuarantinesOnEnoughEvidenceAndOnNoLess",
    "reputation.explore": "ReputationRouter.GoldenExploresEveryFiftieth",
    "reputation.import_order": "ReputationRouter.MergingAReportTwiceOrLateChangesNothing",
    "reputation.quarantine": "ReputationRouter.QuarantinesTheBadAndLetsThemRampUpAgain",
    "reputation.release": "ReputationRouter.QuarantinesTheBadAndLetsThemRampUpAgain",
    "throttle.bucket": "Throttle.DoesNotAllowForEverJustBecauseAShareIsAboveZero",
    "throttle.future_sample": "Throttle.RefusesBadInputAndStaysAsItWas",
    "throttle.growth_pause": "Throttle.PlaysTheGoldenTrace",
    "throttle.idle_minimum": "ThrottleDemand.KeepsAMinimumForTwoIdleIntervalsAndNoLonger",
    "throttle.min_samples": "Throttle.PlaysTheGoldenTrace",
    "throttle.one_cut": "ThrottleCut.CutsAtMostOnceInARoundTrip",
    "throttle.trim_only": "ThrottleSteady.NeverGrowsHoweverFarBelowItsSetpoint",
    "throttle.urgent_minima": "ThrottleDemand.KeepsTheMinimaOfTheUrgentFirstWhereNotAllCanBe",
    "throttle.windup": "Throttle.IntegralDoesNotWindUp",
    "token.balanced": "TokenEconomy.GoldenChannel",
    "token.cap": "TokenEconomy.RefusesBadInputAndChangesNothing",
    "token.carry": "TokenEconomy.InflatesByItsRateAndCarriesTheRemainder",
    "token.escrow_amount": "TokenEconomy.SettlesAnEscrowOnce",
    "token.evidence": "TokenEconomy.GoldenSlash",
    "token.lock": "TokenEconomy.UnbondsForItsEpochsAndKeepsTheLock",
    "token.locked_shares": "TokenRules.LaterLiquidityCountsByItsSmallerShareAndComesBackInProportion",
    "token.nonce": "TokenEconomy.GoldenChannel",
    "token.penalty": "TokenEconomy.GoldenChannel",
    "token.reserve": "TokenEconomy.GoldenLedgerTrace",
    "token.settle_first": "TokenEconomy.PaysRewardsInProportionToWhatWasStakedMeanwhile",
    "token.signature": "TokenEconomy.RefusesBadInputAndChangesNothing",
    "token.slash_unbonding": "TokenEconomy.GoldenSlash",
    "token.slippage": "TokenEconomy.DoesNotSwapOrPoolWithoutDebitingTheAccounts",
    "token.swap_debits": "TokenEconomy.DoesNotSwapOrPoolWithoutDebitingTheAccounts",
    "token.swap_for_nothing": "TokenEconomy.DoesNotSwapOrPoolWithoutDebitingTheAccounts",
    "token.unbonding": "TokenEconomy.UnbondsForItsEpochsAndKeepsTheLock",
    "vote.all": "LockQuorum.LetsOneInAtATimeAndEveryoneInTheEnd",
    "vote.inquire": "LockQuorum.LetsOneInAtATimeAndEveryoneInTheEnd",
    "vote.late_message": "LockQuorum.AGrantOfAnEarlierRequestIsNoVote",
    "vote.old_leases": "LockQuorum.GoesOnWithoutADeadMemberAndLendsNoVoteBeforeItsLeasesAreOver",
    "vote.yield": "LockQuorum.LetsOneInAtATimeAndEveryoneInTheEnd",
}


def in_sources(folder):
    names = set()
    for path, _, files in os.walk(folder):
        for name in files:
            if not name.endswith(".cpp"):
                continue
            with open(os.path.join(path, name), encoding="utf-8") as source:
                names.update(re.findall(r'MESH_MUTANT\("([a-z_.0-9]+)"\)', source.read()))
    return names


def run(program, tests, mutant):
    """The names of the tests that failed; all of them where the program died or did not end."""
    environment = dict(os.environ)
    environment.pop("MESH_MUTANT", None)
    if mutant:
        environment["MESH_MUTANT"] = mutant
    try:
        done = subprocess.run([program, "--gtest_filter=" + tests, "--gtest_brief=1"], env=environment, timeout=100,
                              capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        return ["did not end"]
    failed = re.findall(r"^\[  FAILED  \] ([A-Za-z0-9_]+\.[A-Za-z0-9_]+) \(", done.stdout, re.MULTILINE)
    return failed if done.returncode in (0, 1) else failed + [f"ended with {done.returncode}"]


def main():
    program, folder = sys.argv[1:3]
    present = in_sources(folder)
    services = {name.split(".")[0] for name in present}
    tests = {name: test for name, test in TESTS.items() if name.split(".")[0] in services}
    if "--find" in sys.argv:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(lambda name: run(program, SUITES[name.split(".")[0]], name), sorted(present))
            for name, failed in zip(sorted(present), found):
                print(name, *failed, flush=True)
        return 0
    wrong = [f"{name}: in the sources and not in this list" for name in sorted(present - set(tests))]
    wrong += [f"{name}: in this list and not in the sources" for name in sorted(set(tests) - present)]
    sound = run(program, ":".join(sorted(set(tests.values()))), "")
    wrong += [f"{name}: fails with every check in place" for name in sound]
    caught = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = pool.map(lambda name: run(program, tests[name], name), sorted(tests))
        for name, failed in zip(sorted(tests), outcomes):
            if failed and "did not end" not in failed:  # a program that dies has failed too
                caught += 1
            else:
                wrong.append(f"{name}: {tests[name]} does not fail without it")
    print(f"{caught} of {len(present)} mutants caught")
    print("\n".join(wrong))
    return 1 if wrong or not tests else 0


if __name__ == "__main__":
    sys.exit(main())
