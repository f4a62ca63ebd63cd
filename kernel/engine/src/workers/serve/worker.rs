//! What a worker has, and how it answers one request after the other.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use candle_core::Tensor;
use tunebook_data::Encoded;
use tunebook_data::ImageProcessor;
use tunebook_mpi::Mpi;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::gradients::Gradients;

use super::Connection;
use super::inbox::Inbox;
use crate::device;
use crate::error::Error;
use crate::error::Result;
use crate::evaluate::loss_of;
use crate::event::Cancel;
use crate::event::Context;
use crate::memory;
use crate::model::Model;
use crate::pictures::Features;
use crate::workers::adapter_files;
use crate::workers::error::WorkersError;
use crate::workers::settings_map;
use crate::workers::wire;
use crate::workers::wire::LoadModel;
use crate::workers::wire::LossOutcome;
use crate::workers::wire::Pixels;
use crate::workers::wire::Reply;
use crate::workers::wire::Request;
use crate::workers::wire::WireSample;

pub(super) struct Worker {
    pub(super) session: Arc<Connection>,
    pub(super) inbox: Inbox,
    pub(super) cancel: Cancel,
    /// The fraction of what is computed that is done, as bits of an f32.
    pub(super) progress: Arc<AtomicU32>,
    pub(super) mpi: Mpi,
    pub(super) model: Option<Model>,
    pub(super) features: Features,
    pub(super) adapter: Option<Adapter>,
    /// Those of the last share.
    pub(super) gradients: Gradients,
    /// See [`memory::tokens_at_once`].
    pub(super) tokens_at_once: Option<usize>,
    #[cfg(feature = "cuda")]
    pub(super) device_sum: Option<crate::workers::device_sum::DeviceSum>,
    /// Where files lie that came from the session, by their path there and length.
    pub(super) files: HashMap<(PathBuf, u64), PathBuf>,
    pub(super) folder: Option<tempfile::TempDir>,
}

impl Worker {
    pub(super) fn new(
        session: Arc<Connection>,
        inbox: Inbox,
        (cancel, progress): (Cancel, Arc<AtomicU32>),
        mpi: Mpi,
    ) -> Self {
        Self {
            session,
            inbox,
            cancel,
            progress,
            mpi,
            model: None,
            features: Features::default(),
            adapter: None,
            gradients: Gradients::default(),
            tokens_at_once: None,
            #[cfg(feature = "cuda")]
            device_sum: None,
            files: HashMap::new(),
            folder: None,
        }
    }

    /// Answers one request after the other, until the session is gone.
    pub(super) fn serve(mut self, describe: &dyn Fn(&Error) -> String) -> Result<()> {
        while let Some((request, values)) = self.inbox.next() {
            self.tell_progress(0.0);
            match self.answer(request, values) {
                Ok(Some((reply, values))) => self.session.send(&reply, &values)?,
                Ok(None) => {}
                Err(error) => self.session.send(&Reply::Failed { problem: describe(&error) }, &[])?,
            }
        }
        self.mpi.finalize().map_err(WorkersError::from)?;
        Ok(())
    }

    fn answer(&mut self, request: Request, values: Vec<f32>) -> Result<Option<(Reply, Vec<f32>)>> {
        let reply = match request {
            Request::Load(load) => self.load(*load)?,
            Request::NoAdapter => {
                self.adapter = None;
                Reply::Ready
            }
            Request::Adapter { bytes } => {
                let packed = self.broadcast(values, bytes.div_ceil(size_of::<f32>()))?;
                self.adapter = Some(adapter_files::unpack(wire::bytes_of(&packed, bytes), &self.model()?.net)?);
                self.tokens_at_once = None;
                Reply::Ready
            }
            Request::Parameters { values: count } => {
                let parameters = self.broadcast(values, count)?;
                self.take_over(&parameters)?;
                Reply::Ready
            }
            Request::Gradients { settings, pixels, micro_batches } => {
                Reply::Gradients(self.gradients(settings, pixels, micro_batches)?)
            }
            Request::Sum { in_order } => return self.sum(in_order).map(Some),
            Request::Loss { pixels, samples } => Reply::Loss(self.loss(pixels, samples)?),
            Request::Answer { settings, pixels, labels } => {
                self.answers(settings, pixels, labels, &values)?;
                Reply::EndOfAnswers
            }
            // Late, after a cancellation.
            Request::Question { .. } | Request::EndOfQuestions | Request::File { .. } | Request::Cancel => {
                return Ok(None);
            }
        };
        Ok(Some((reply, Vec::new())))
    }

    pub(super) fn model(&self) -> Result<&Model> {
        self.model.as_ref().ok_or(Error::NoModel)
    }

    fn load(&mut self, load: LoadModel) -> Result<Reply> {
        let LoadModel { name, settings, threads, neighbours, place } = load;
        // A second model finds the pool as it is.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        memory::share_with(neighbours);
        device::prefer(place);
        let settings = settings_map::read(&settings)?;
        let cx = Context { emit: &|_| {}, cancel: &self.cancel };
        self.model = None;
        let model = Model::open(&name, &settings, &cx)?;
        let fingerprint = model.fingerprint().to_string();
        (self.model, self.features, self.adapter) = (Some(model), Features::default(), None);
        self.tokens_at_once = None;
        Ok(Reply::Loaded { fingerprint })
    }

    /// The values that rank 0 has.
    fn broadcast(&self, values: Vec<f32>, count: usize) -> Result<Vec<f32>> {
        let mut values = if self.mpi.rank() == 0 { values } else { vec![0.0; count] };
        self.mpi.broadcast(&mut values).map_err(WorkersError::from)?;
        Ok(values)
    }

    /// Takes over the values of what trains, in the order of [`Adapter::vars`].
    fn take_over(&mut self, parameters: &[f32]) -> Result<()> {
        let adapter = self.adapter.as_ref().ok_or(Error::NoAdapter)?;
        let mut rest = parameters;
        for (_, parameter) in adapter.vars() {
            let (values, others) = rest.split_at(parameter.elem_count());
            rest = others;
            parameter.set(&Tensor::from_slice(values, parameter.shape(), parameter.device())?)?;
        }
        adapter.changed();
        Ok(())
    }

    fn loss(&mut self, pixels: Pixels, samples: Vec<WireSample>) -> Result<LossOutcome> {
        let processor = self.processor(pixels)?;
        let samples = self.encoded(samples, 0)?;
        let batch: Vec<_> = samples.iter().collect();
        let (model, adapter) = (self.model.as_ref().ok_or(Error::NoModel)?, self.adapter.as_ref());
        let stop = || self.cancel.is_cancelled();
        let loss = loss_of(&batch, (model, adapter, &processor), &mut self.features, &stop);
        match loss {
            Ok(loss) => Ok(LossOutcome::Loss(loss)),
            Err(Error::BadSample(_)) => Ok(LossOutcome::BadSample),
            Err(Error::Cancelled) => Ok(LossOutcome::Cancelled),
            Err(error) => Err(error),
        }
    }

    /// The model's processor with the session's limits.
    pub(super) fn processor(&self, Pixels { most, least }: Pixels) -> Result<ImageProcessor> {
        Ok(self.model()?.processor.clone().with_limits(most, least)?)
    }

    /// Samples with numbers from `first` on, and their images where they can be read.
    pub(super) fn encoded(&mut self, samples: Vec<WireSample>, first: usize) -> Result<Vec<Encoded>> {
        let mut place = |path: PathBuf, length| self.place(path, length);
        (first..).zip(samples).map(|(number, sample)| sample.encoded(number, &mut place)).collect()
    }

    /// Where the session's file of that path and length lies here: at the same path, or where it is put when it has come
    /// from the session. At the same path if the session cannot read it either.
    fn place(&mut self, path: PathBuf, length: u64) -> Result<PathBuf> {
        let is_same = std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() == length);
        if is_same || length == 0 {
            return Ok(path);
        }
        let key = (path, length);
        if let Some(known) = self.files.get(&key) {
            return Ok(known.clone());
        }
        self.session.send(&Reply::NeedsFile { path: key.0.clone() }, &[])?;
        let Some((bytes, values)) = self.inbox.file() else { return Ok(key.0) };
        let folder = match self.folder.take() {
            Some(folder) => self.folder.insert(folder),
            None => {
                let made = tunebook_files::private_folder("pictures");
                self.folder.insert(made.map_err(|source| Error::Write { path: std::env::temp_dir(), source })?)
            }
        };
        let mut here = folder.path().join(self.files.len().to_string());
        if let Some(extension) = key.0.extension() {
            here.set_extension(extension);
        }
        let written = std::fs::write(&here, wire::bytes_of(&values, bytes));
        written.map_err(|source| Error::Write { path: here.clone(), source })?;
        self.files.insert(key, here.clone());
        Ok(here)
    }

    fn tell_progress(&self, fraction: f64) {
        self.progress.store((fraction as f32).to_bits(), Ordering::Relaxed);
    }
}
