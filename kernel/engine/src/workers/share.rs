//! Which worker computes what: micro-batches of a step, so that none waits long for another.

/// Shares out pieces of work of these costs: the places of those that each of `workers` does, in ascending order.
///
/// The most expensive first, each to the worker that has least (Graham 1969): the last is done after at most 4/3 of the
/// shortest time there is. It depends on the costs alone, so that a step always has the same sums.
pub(super) fn share(costs: &[usize], workers: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by_key(|&place| (std::cmp::Reverse(costs[place]), place));
    let mut shares = vec![(0, Vec::new()); workers];
    for place in order {
        let least = (0..workers).min_by_key(|&worker| (shares[worker].0, shares[worker].1.len(), worker));
        let Some((cost, places)) = least.map(|worker| &mut shares[worker]) else { break };
        *cost += costs[place];
        places.push(place);
    }
    let sorted = |(_, mut places): (usize, Vec<usize>)| {
        places.sort_unstable();
        places
    };
    shares.into_iter().map(sorted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_shared_out_once_and_evenly() {
        assert_eq!(share(&[5, 5, 5, 5], 2), [[0, 2], [1, 3]]);
        assert_eq!(share(&[9, 1, 1, 8, 1], 2), [vec![0, 4], vec![1, 2, 3]]);
        assert_eq!(share(&[3], 3), [vec![0], vec![], vec![]]);
        assert_eq!(share(&[], 2), [vec![], Vec::<usize>::new()]);
        let costs: Vec<usize> = (0..100).map(|n| n * 37 % 91).collect();
        for workers in 1..8 {
            let shares = share(&costs, workers);
            let mut all: Vec<_> = shares.iter().flatten().copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..100).collect::<Vec<_>>());
            let sum = |places: &Vec<usize>| places.iter().map(|&place| costs[place]).sum::<usize>();
            let (most, least) = (shares.iter().map(sum).max().unwrap(), shares.iter().map(sum).min().unwrap());
            assert!(most - least <= 91, "{workers}: {least} to {most}");
        }
    }
}
