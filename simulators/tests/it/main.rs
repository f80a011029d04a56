//! The simulators over their real sockets: transcripts of a real ComfyUI, providers' protocols, faults, invoices.

mod comfyui_faults;
mod files;
mod gemini;
mod process;
mod replay;
mod runpod;
mod runpod_bill;
mod support;
mod tokens;
mod transcripts;
