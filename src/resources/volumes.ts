import { Type, type Static } from 'typebox';
import { flag, int32, quantity, refusing, text } from './schema.ts';

const optional = Type.Optional(flag('Whether it may be missing.'));
const objectName = (kind: string) => Type.Optional(text(`Name of the ${kind}, in the same namespace.`));

const KeySelector = (kind: string) =>
  Type.Object(
    { name: objectName(kind), key: Type.Optional(text('Key whose value it is.')), optional },
    { description: `One value of a ${kind}.` },
  );

export const EnvVarSource = Type.Object(
  {
    secretKeyRef: Type.Optional(KeySelector('Secret')),
    configMapKeyRef: Type.Optional(KeySelector('ConfigMap')),
  },
  { description: 'Where the value comes from.', ...refusing('fieldRef', 'resourceFieldRef', 'fileKeyRef') },
);
export type EnvVarSource = Static<typeof EnvVarSource>;

const ObjectRef = (kind: string) =>
  Type.Object({ name: objectName(kind), optional }, { description: `All values of a ${kind}.` });

export const EnvFromSource = Type.Object(
  {
    prefix: Type.Optional(text('Put before each name.')),
    secretRef: Type.Optional(ObjectRef('Secret')),
    configMapRef: Type.Optional(ObjectRef('ConfigMap')),
  },
  { description: 'A variable for each key of a Secret or ConfigMap.' },
);
export type EnvFromSource = Static<typeof EnvFromSource>;

export const VolumeMount = Type.Object(
  {
    name: Type.Optional(text('Name of the volume.')),
    mountPath: Type.Optional(text('Where the container finds it.')),
    subPath: Type.Optional(text('The part of the volume to mount; all of it unless set.')),
    readOnly: Type.Optional(flag('Whether it can only be read; so for all but emptyDir.')),
  },
  {
    description: 'Puts a volume into a container.',
    ...refusing('mountPropagation', 'recursiveReadOnly', 'subPathExpr'),
  },
);
export type VolumeMount = Static<typeof VolumeMount>;

export const KeyToPath = Type.Object(
  {
    key: Type.Optional(text('Key whose value it is.')),
    path: Type.Optional(text('Name of the file, below the mount.')),
    mode: Type.Optional(int32("Permissions of the file; the volume's defaultMode unless set.")),
  },
  { description: 'Makes a key a file.' },
);
export type KeyToPath = Static<typeof KeyToPath>;

const items = Type.Optional(
  Type.Array(KeyToPath, { description: 'Keys that become files; all of them, by their names, unless set.' }),
);
const defaultMode = Type.Optional(int32('Permissions of the files; 0644 unless set.'));

const VolumeProjection = Type.Object(
  {
    secret: Type.Optional(
      Type.Object({ name: objectName('Secret'), items, optional }, { description: 'Files from a Secret.' }),
    ),
    configMap: Type.Optional(
      Type.Object({ name: objectName('ConfigMap'), items, optional }, { description: 'Files from a ConfigMap.' }),
    ),
  },
  {
    description: 'A part of a projected volume.',
    ...refusing('serviceAccountToken', 'downwardAPI', 'clusterTrustBundle', 'podCertificate'),
  },
);

export const Volume = Type.Object(
  {
    name: Type.Optional(text('Name of the volume.')),
    secret: Type.Optional(
      Type.Object(
        { secretName: objectName('Secret'), items, defaultMode, optional },
        { description: 'Files from a Secret.' },
      ),
    ),
    configMap: Type.Optional(
      Type.Object(
        { name: objectName('ConfigMap'), items, defaultMode, optional },
        { description: 'Files from a ConfigMap.' },
      ),
    ),
    projected: Type.Optional(
      Type.Object(
        {
          sources: Type.Optional(Type.Array(VolumeProjection, { description: 'What is put together.' })),
          defaultMode,
        },
        { description: 'Files from several Secrets and ConfigMaps.' },
      ),
    ),
    emptyDir: Type.Optional(
      Type.Object(
        {
          medium: Type.Optional(text('"Memory" for a file system in memory.')),
          sizeLimit: Type.Optional(quantity()),
        },
        { description: 'An empty folder, gone with the instance.' },
      ),
    ),
  },
  {
    description: 'Files that containers may mount.',
    ...refusing(
      ...['awsElasticBlockStore', 'azureDisk', 'azureFile', 'cephfs', 'cinder', 'csi', 'downwardAPI', 'ephemeral'],
      ...['fc', 'flexVolume', 'flocker', 'gcePersistentDisk', 'gitRepo', 'glusterfs', 'hostPath', 'image', 'iscsi'],
      ...['nfs', 'persistentVolumeClaim', 'photonPersistentDisk', 'portworxVolume', 'quobyte', 'rbd', 'scaleIO'],
      ...['storageos', 'vsphereVolume'],
    ),
  },
);
export type Volume = Static<typeof Volume>;
