//! One run: a workload, a fleet, a strategy, a seed.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::fleet::FleetSpec;
use crate::job::SimJob;
use crate::named::Name;
use crate::setting::Setting;
use crate::strategy::Strategy;
use crate::world::{Rows, Shared, World};

/// Runs a workload until all its jobs have ended, or nothing happens any more.
#[must_use]
pub fn run(jobs: &Arc<Vec<SimJob>>, fleet: &FleetSpec, name: Name, seed: u64) -> Rows {
    run_with(jobs, fleet, seed, |world| name.build(world, fleet.routers))
}

/// The same for a strategy without a name.
#[must_use]
pub fn run_with(
    jobs: &Arc<Vec<SimJob>>,
    fleet: &FleetSpec,
    seed: u64,
    build: impl FnOnce(&Shared) -> Box<dyn Strategy>,
) -> Rows {
    let setting = Rc::new(Setting::default());
    let world = Rc::new(RefCell::new(World::new(Arc::clone(jobs), fleet, &setting, seed)));
    let mut strategy = build(&world);
    drive(&world, strategy.as_mut());
    drop(strategy);
    // Timers of steps that wait hold wakers, not the world.
    Rc::try_unwrap(world)
        .map_or_else(|_| unreachable!("the strategy is gone"), |world| world.into_inner().finish())
}

fn drive(world: &Rc<RefCell<World>>, strategy: &mut dyn Strategy) {
    loop {
        let Some(at_ms) = world.borrow().next_at_ms() else { return };
        {
            let mut world = world.borrow_mut();
            world.now_ms = world.now_ms.max(at_ms);
        }
        loop {
            let stepped = world.borrow_mut().step();
            match stepped {
                None => break,
                Some(None) => {}
                Some(Some(notice)) => strategy.notice(world, notice),
            }
        }
        strategy.decide(world);
        world.borrow_mut().dispatch();
    }
}
