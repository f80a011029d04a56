//! Simulated fleets with a document that cannot be read: nothing new is paid, and the promises hold.

use tests::simulation::operations::text;
use tests::simulation::{Figures, List, Mutation, run};

/// Paid jobs within two seconds from then on, which end half a minute later, and such operations.
fn paid_jobs(seed: u64, from_ms: i64, operations: &[String]) -> List {
    let mut words = format!("seed {seed}\n");
    for job in 0..8 {
        let at_ms = from_ms + job * 250;
        words += &format!(
            "{at_ms} submit {job} lane=standard tenant=generous paid=yes only=cloud deadline=30000\n"
        );
    }
    operations.iter().for_each(|operation| words += &format!("{operation}\n"));
    text::read(&words).expect("a list")
}

fn unreadable(at_ms: i64, processes: &[&str]) -> Vec<String> {
    processes.iter().map(|process| format!("{at_ms} unreadable {process} for=90000")).collect()
}

fn seen(from_ms: i64, operations: &[String]) -> Figures {
    let mut seen = Figures::default();
    for seed in 0..12 {
        let (figures, breach) = run(&paid_jobs(seed, from_ms, operations), Mutation::None);
        assert_eq!(breach, None, "seed {seed}");
        seen.add(&figures);
    }
    seen
}

#[test]
fn routers_that_cannot_read_a_document_place_nothing_paid() {
    assert!(seen(100, &[]).paid_starts > 0, "nothing is paid even so");
    let all = seen(100, &unreadable(0, &["router-1", "router-2"]));
    assert_eq!((all.paid_starts, all.completed), (0, 0), "{all}");
}

/// The workers' offers say so a moment later: what they get until then they hand back unstarted.
#[test]
fn workers_that_cannot_read_a_document_start_nothing_paid() {
    let all = seen(3_100, &unreadable(3_050, &["cloud-1", "cloud-2"]));
    assert_eq!((all.paid_starts, all.completed), (0, 0), "{all}");
    // Where one can read it, the work is done there.
    let all = seen(3_100, &unreadable(3_050, &["cloud-1"]));
    assert!(all.paid_starts > 0 && all.completed > 0, "{all}");
}
