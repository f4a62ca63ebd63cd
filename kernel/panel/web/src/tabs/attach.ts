// A picture out of a file, to be sent to the kernel.

/** The largest file that is sent, in bytes. */
const LARGEST = 32 * 2 ** 20;

export interface Attached {
  key: number;
  name: string;
  /** For the page itself. */
  address: string;
  /** For the kernel: base64. */
  data: string;
  /** Where the kernel has put it, once it has. */
  path: string | null;
}

let nextKey = 0;

/** Reads the file, or says what is wrong with it. */
export async function read(file: File): Promise<Attached | { problem: "noPicture" | "tooLarge"; limit: number }> {
  const limit = LARGEST / 2 ** 20;
  if (!file.type.startsWith("image/")) return { problem: "noPicture", limit };
  if (file.size > LARGEST) return { problem: "tooLarge", limit };
  const address = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
  const data = address.slice(address.indexOf(",") + 1);
  return { key: nextKey++, name: file.name || "picture.png", address, data, path: null };
}
