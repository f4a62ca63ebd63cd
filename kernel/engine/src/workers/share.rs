//! Which worker computes what: micro-batches of a step, so that none waits long for another.

/// Shares out so many pieces of work: the places of those that each of `workers` does, in ascending order. `cost` is what
/// a worker, the first argument, takes for a place.
///
/// The most expensive first, each to the worker that is done with it first. If all are equally fast, the last is done after
/// at most 4/3 of the shortest time there is (Graham 1969).
pub(super) fn share(places: usize, workers: usize, cost: &dyn Fn(usize, usize) -> f64) -> Vec<Vec<usize>> {
    let most = |place: usize| (0..workers).map(|worker| cost(worker, place)).fold(0.0, f64::max);
    let mut order: Vec<(f64, usize)> = (0..places).map(|place| (most(place), place)).collect();
    order.sort_by(|(a, at), (b, other)| b.total_cmp(a).then(at.cmp(other)));
    let mut shares = vec![(0.0, Vec::new()); workers];
    for (_, place) in order {
        let end = |worker: usize| shares[worker].0 + cost(worker, place);
        let first = (0..workers).min_by(|&a, &b| {
            let fewest = || shares[a].1.len().cmp(&shares[b].1.len());
            end(a).total_cmp(&end(b)).then_with(fewest)
        });
        let Some(worker) = first else { break };
        shares[worker].0 = end(worker);
        shares[worker].1.push(place);
    }
    let sorted = |(_, mut places): (f64, Vec<usize>)| {
        places.sort_unstable();
        places
    };
    shares.into_iter().map(sorted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(costs: &[usize], workers: usize) -> Vec<Vec<usize>> {
        share(costs.len(), workers, &|_, place| costs[place] as f64)
    }

    #[test]
    fn everything_is_shared_out_once_and_evenly() {
        assert_eq!(alike(&[5, 5, 5, 5], 2), [[0, 2], [1, 3]]);
        assert_eq!(alike(&[9, 1, 1, 8, 1], 2), [vec![0, 2], vec![1, 3, 4]]);
        assert_eq!(alike(&[3], 3), [vec![0], vec![], vec![]]);
        assert_eq!(alike(&[], 2), [vec![], Vec::<usize>::new()]);
        let costs: Vec<usize> = (0..100).map(|n| n * 37 % 91).collect();
        for workers in 1..8 {
            let shares = alike(&costs, workers);
            let mut all: Vec<_> = shares.iter().flatten().copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..100).collect::<Vec<_>>());
            let sum = |places: &Vec<usize>| places.iter().map(|&place| costs[place]).sum::<usize>();
            let (most, least) = (shares.iter().map(sum).max().unwrap(), shares.iter().map(sum).min().unwrap());
            assert!(most - least <= 91, "{workers}: {least} to {most}");
        }
    }

    #[test]
    fn who_is_faster_gets_more_and_everybody_what_he_knows() {
        // The second worker is three times as fast.
        let shares = share(8, 2, &|worker, _| if worker == 0 { 3.0 } else { 1.0 });
        assert_eq!([shares[0].len(), shares[1].len()], [2, 6]);
        // Even places are cheaper for the first, odd ones for the second.
        let shares = share(8, 2, &|worker, place| if place % 2 == worker { 1.0 } else { 1.4 });
        assert_eq!(shares, [[0, 2, 4, 6], [1, 3, 5, 7]]);
    }
}
