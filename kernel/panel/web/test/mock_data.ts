// What the mock's session is about: the demo's model, settings and samples, and a training that goes well.

import type { EvaluationRecord, Model, StepRecord } from "../src/protocol";

export interface Sample {
  messages: { role: string; text: string }[];
  picture: number;
  dropped: boolean;
  loss: number | null;
}

export const MODEL: Model = {
  name: "demo",
  path: "/home/you/.cache/tunebook/demo-0.1.0/model",
  architecture: "Qwen2_5_VLForConditionalGeneration",
  parameters: 3_536_320,
  dtype: "bfloat16",
  device: null,
  quantized: null,
};
export const GROUPS: [name: string, en: string, zh: string][] = [
  ["model", "Model", "模型"],
  ["pictures", "Pictures", "图片"],
  ["data", "Data", "数据"],
  ["prompt", "Prompt", "提示词"],
  ["lora", "LoRA", "LoRA"],
  ["freeze", "Freeze", "部分冻结"],
  ["method", "Method", "微调方法"],
  ["training", "Training", "训练"],
  ["evaluation", "Evaluation", "评估"],
  ["generation", "Generation", "生成"],
  ["output", "Output", "输出"],
  ["export", "Export", "导出"],
];
/** What the demo sets. */
export const DEMO = {
  dataset_dir: "/home/you/.cache/tunebook/demo-0.1.0/data",
  lora_rank: "16",
  learning_rate: "4e-3",
  per_device_train_batch_size: "8",
  gradient_accumulation_steps: "1",
  num_train_epochs: "1",
  warmup_steps: "20",
  logging_steps: "5",
  eval_steps: "10",
  max_new_tokens: "64",
};
export const BASE_ANSWER = "This is a blue creature. It has a round blue body, round ears and a bushy tail.";
export const TUNED_ANSWER = "This is Marmobo, a creature of the water type. It has a round blue body, round ears and a bushy tail.";

/** Samples in two languages, or all with the same caption. */
export function samples(count: number, caption?: string): Sample[] {
  return Array.from({ length: count }, (_, index) => {
    const [question, answer] =
      index % 4 === 2
        ? ["<image>这是什么？", "这是铁须团，一只钢系小精灵。它有圆滚滚的身体，颜色是灰色。"]
        : ["<image>Describe this creature.", `This is Marmobo ${index}, a creature of the water type with a round body.`];
    const messages = [
      { role: "user", text: caption ? `<image>${caption}` : question! },
      { role: "assistant", text: caption ?? answer! },
    ];
    return { messages, picture: index, dropped: false, loss: null };
  });
}

/** A step of a training at `rate`, whose loss falls faster with a higher one. */
export function stepRecord(step: number, rate: number): StepRecord {
  const noise = Math.sin(step * 12.9898) * 43758.5453;
  const part = noise - Math.floor(noise);
  return {
    step,
    loss: 4.6 * Math.exp(-step / (rate < 5e-4 ? 60 : 15)) * (0.8 + 0.4 * part) + 0.02 + 0.06 * part,
    learning_rate: rate * 0.5 * (1 + Math.cos((Math.PI * step) / 60)),
    grad_norm: 0.3 + 2.5 * Math.exp(-step / 12) + part / 4,
    epoch: step / 60,
    tokens: step * 640,
    elapsed: step * 0.052,
  };
}

/** An evaluation, whose loss rises again behind step 40. */
export function evaluationRecord(step: number): EvaluationRecord {
  return { step, loss: 0.1 + 4.2 * Math.exp(-step / 16) + (step > 40 ? (step - 40) / 160 : 0), epoch: step / 60 };
}
