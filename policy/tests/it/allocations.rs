//! What a plan takes from the allocator: the parts of its result, each once and at its final size.

use policy::plan::Plan;
use schemas::{Listing, PaidConsent};

use crate::world::World;

/// Allocations of one plan, and the plan.
fn counted(world: &World) -> (u64, Plan) {
    let admitted = world.admitted();
    let mut plan = None;
    let counted = allocation_counter::measure(|| plan = Some(world.plan_as(&admitted)));
    (counted.count_total, plan.expect("it was made"))
}

#[test]
fn a_plan_allocates_its_result_and_nothing_else() {
    let (allocations, plan) = counted(&World::idle());
    assert!(matches!(plan, Plan::Assign(_)), "{plan:?}");
    // The placed attempt, its model, the candidates, the reason.
    assert_eq!(allocations, 4);
}

#[test]
fn words_against_a_backend_cost_one_list_each() {
    let mut world = World::idle();
    world.job.constraints.allow_paid = None;
    let (allocations, plan) = counted(&world);
    assert!(matches!(plan, Plan::Assign(_)), "{plan:?}");
    // As above, what is said of consent, and the lists of the two paid backends.
    assert_eq!(allocations, 4 + 1 + 2);
    // As shipped: the default word is never.
    (world.tenant.allow_paid, world.listing) = (PaidConsent::Never, Listing::Default);
    assert_eq!(counted(&world).0, 4 + 1 + 2);
}
