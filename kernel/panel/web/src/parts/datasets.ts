// The datasets that there are.

import { useEffect, useState } from "preact/hooks";
import type { Datasets } from "../protocol";
import { useStore } from "../store";

/** Those of dataset_dir, asked for anew when it is another one. */
export function useDatasets(): Datasets | null {
  const store = useStore();
  const folder = store.known.session?.settings.find((one) => one.name === "dataset_dir")?.value;
  const [found, setFound] = useState<Datasets | null>(null);
  useEffect(() => {
    let isCurrent = true;
    store.request({ type: "datasets" }).then(
      (reply) => isCurrent && setFound(reply),
      () => isCurrent && setFound(null),
    );
    return () => {
      isCurrent = false;
    };
  }, [folder, store.link]);
  return found;
}
