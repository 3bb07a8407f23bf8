/** The wire contract as generated code; see protos/legonn/v1 for what each field means. */
export * from "./gen/legonn/v1/audio_pb.js";
export * from "./gen/legonn/v1/error_reason_pb.js";
export * from "./gen/legonn/v1/hypothesis_pb.js";
export * from "./gen/legonn/v1/module_card_pb.js";
export * from "./gen/legonn/v1/module_service_pb.js";
export * from "./gen/legonn/v1/speech_service_pb.js";
export * from "./gen/legonn/v1/translation_service_pb.js";
